"""The numbers of `nnit_pca`: `nnit`'s, and the ranks of what it holds of the zoo."""

from dataclasses import dataclass, replace

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


CPU = Config(
    patch=16, width=256, depth=3, joint_share=0.25, batch=8, steps=40_000, peak_lr=1e-3, warmup=300, balanced=True
)
REHEARSAL = Config(
    width=32,
    condition=32,
    place_rank=24,
    summary_rank=4,
    depth=1,
    heads=2,
    batch=4,
    steps=20,
    warmup=5,
    sampling_steps=4,
)
