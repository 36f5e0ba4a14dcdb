"""The numbers of `nnit_pca`: `nnit`'s, and the ranks of what it holds of the zoo."""

from dataclasses import asdict, dataclass, replace

from nnbench.methods.nnit import config as nnit


@dataclass(frozen=True, kw_only=True)
class Config(nnit.Config):
    """`nnit`'s configuration with two ranks; 0 stands for what the zoo's number of hypernetworks asks for."""

    place_rank: int = 0
    """Rank of the linear map out of the model, of which every place of the grid has one of its own; it bounds what a
    patch can be there. 0: two per hypernetwork."""
    summary_rank: int = 0
    """How many principal components of the training networks a noisy network is scored on; every token is told all
    scores. 0: one per hypernetwork."""

    def sized(self, hypernetworks: int) -> "Config":
        """The same, without zeros."""
        return replace(
            self,
            place_rank=self.place_rank or 2 * hypernetworks,
            summary_rank=self.summary_rank or hypernetworks,
        )


CPU = Config(depth=3, joint_share=0.25, batch=8, steps=40_000)
REHEARSAL = Config(**asdict(nnit.REHEARSAL), place_rank=24, summary_rank=4)
"""The toy zoo of `nnbench check` has 24 networks, of no hypernetworks: its patches need as many dimensions."""
