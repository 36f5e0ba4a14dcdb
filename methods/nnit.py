"""NNiT: a diffusion transformer over patches of weight matrices (arXiv 2603.00180v1, section 5, appendix C).

A policy's layer is the block [weight | bias], cut into p x p patches. A patch is a token with a place (layer, row,
column), so a wider network has more tokens, not larger ones: that is what lets one model write every architecture.

Where this differs from the paper:
- The network predicts the clean weights x0, not the noise of Eq. 3, and the loss is weighted by the clamped
  signal-to-noise ratio. With 256 numbers a token and a model width of 256, noise prediction failed in our trials: noise
  fills all dimensions and must pass through the network whole, aligned weights lie on few (as for images: Li and He
  2025, Back to Basics).
- Fixed variance and DDIM sampling (Song et al. 2021); the paper learns the covariance with a variational bound.
- Conditional synthesis p(w|a) only (t_a = 0 in Eq. 4). There is no joint mode p(a, w) yet, so one timestep embedding.
- Only patches that hold part of the network are tokens. The paper pads every layer to one grid of H x W (section
  5.1.2), which the joint mode needs because the architecture is unknown there.
- Blocks are out x (in + 1); the architecture is its hidden widths, input and output being the same for all.
- Sizes, learning rates, batch and number of steps are ours (`Config`); the paper leaves p, d and the depth open.

Shapes: B networks a batch, L patches a network, P = p * p numbers a patch, D model width, S hidden layers.
"""

import copy
import json
import math
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from tqdm import tqdm

from nnbench.tasks.architectures import Architecture, architecture_name, layer_widths
from nnbench.tasks.checkpoint import load_training_state, save_training_state
from nnbench.tasks.policy import Weights
from nnbench.tasks.zoo import TrainingSet

VOCABULARY = (16, 32, 64)
"""Hidden widths that have an embedding (section 5.1.1); the largest also bounds the patch grid."""
HIDDEN_LAYERS = 4
CHECKPOINT_EVERY = 250
GENERATE_BATCH = 50


@dataclass(frozen=True)
class Config:
    """Sizes and budget: minutes on a GPU, under an hour on two CPU cores."""

    patch: int = 16  # divides every hidden width, so widening adds whole patches
    width: int = 256
    depth: int = 6
    heads: int = 4
    batch: int = 32
    steps: int = 5000
    peak_lr: float = 5e-4
    min_lr: float = 1e-5
    warmup: int = 300
    ema: float = 0.9995
    timesteps: int = 1000
    sampling_steps: int = 20


DEFAULT = Config()
REHEARSAL = Config(width=32, depth=1, heads=2, batch=4, steps=20, warmup=5, sampling_steps=4)


# ---------------------------------------------------------------------------------------------------------------------
# Weights to tokens and back (section 5.1)


def width_indices(arch: Architecture) -> Tensor:
    """The architecture's tokens: each hidden width's index in the vocabulary, (S,).

    Raises ValueError where a width has no embedding or the number of hidden layers differs.
    """
    if len(arch) != HIDDEN_LAYERS:
        raise ValueError(f"nnit: {architecture_name(arch)} has {len(arch)} hidden layers, expected {HIDDEN_LAYERS}")
    for width in arch:
        if width not in VOCABULARY:
            raise ValueError(
                f"nnit: {architecture_name(arch)} has width {width}, which has no embedding; known widths: {VOCABULARY}"
            )
    return torch.tensor([VOCABULARY.index(width) for width in arch])


def patch_grids(arch: Architecture, observation_dim: int, action_dim: int, patch: int) -> list[tuple[int, int]]:
    """Rows and columns of patches that cover each layer's block of out x (in + 1)."""
    widths = layer_widths(arch, observation_dim, action_dim)
    return [
        (math.ceil(out / patch), math.ceil((inputs + 1) / patch))
        for inputs, out in zip(widths[:-1], widths[1:], strict=True)
    ]


def patch_positions(grids: list[tuple[int, int]]) -> Tensor:
    """(layer, row, column) of every patch, in the order of `patchify`, (L, 3)."""
    return torch.tensor(
        [(layer, row, col) for layer, (rows, cols) in enumerate(grids) for row in range(rows) for col in range(cols)]
    )


def patchify(weights: Weights, patch: int) -> Tensor:
    """Cut every layer's block [weight | bias], zero-padded to multiples of p, into flattened patches (L, P)."""
    tokens = []
    for layer in range(len(weights) // 2):
        block = torch.cat([weights[f"{2 * layer}.weight"], weights[f"{2 * layer}.bias"][:, None]], dim=1)
        out, inputs = block.shape
        block = F.pad(block, (0, -inputs % patch, 0, -out % patch))  # (rows * p, cols * p)
        tokens.append(block.unfold(0, patch, patch).unfold(1, patch, patch).reshape(-1, patch * patch))
    return torch.cat(tokens)


def unpatchify(tokens: Tensor, arch: Architecture, observation_dim: int, action_dim: int, patch: int) -> Weights:
    """The inverse of `patchify`: assemble (L, P) patches and discard the padding (section 5.4)."""
    widths = layer_widths(arch, observation_dim, action_dim)
    grids = patch_grids(arch, observation_dim, action_dim, patch)
    weights: Weights = {}
    for layer, part in enumerate(tokens.split([rows * cols for rows, cols in grids])):
        rows, cols = grids[layer]
        block = part.view(rows, cols, patch, patch).transpose(1, 2).reshape(rows * patch, cols * patch)
        inputs, out = widths[layer], widths[layer + 1]
        weights[f"{2 * layer}.weight"] = block[:out, :inputs].clone(memory_format=torch.contiguous_format)
        weights[f"{2 * layer}.bias"] = block[:out, inputs].clone()
    return weights


# ---------------------------------------------------------------------------------------------------------------------
# The transformer (section 5.2)


def modulate(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return torch.addcmul(shift, x, 1 + scale)  # one pass over memory; on a CPU a tenth of the step hangs on it


class Block(nn.Module):
    """Self-attention and SwiGLU, each shifted, scaled and gated by the timestep (AdaLN-Zero)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        hidden = max(32, width * 8 // 3 // 32 * 32)  # 8/3: three matrices cost what an MLP of ratio 4 costs with two
        self.heads = heads
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.gate_up = nn.Linear(width, 2 * hidden)
        self.down = nn.Linear(hidden, width)
        self.modulation = nn.Linear(width, 6 * width)
        # Gates of zero make the block the identity at the start: depth costs nothing until it is learned to be useful.
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def forward(self, x: Tensor, condition: Tensor) -> Tensor:  # (B, S + L, D), (B, D)
        shift1, scale1, gate1, shift2, scale2, gate2 = self.modulation(condition)[:, None].chunk(6, dim=-1)
        y = modulate(self.norm1(x), shift1, scale1)
        q, k, v = (z.unflatten(-1, (self.heads, -1)).transpose(1, 2) for z in self.qkv(y).chunk(3, dim=-1))
        attended = F.scaled_dot_product_attention(q, k, v)  # (B, heads, S + L, D / heads)
        x = torch.addcmul(x, gate1, self.proj(attended.transpose(1, 2).flatten(2)))
        y = modulate(self.norm2(x), shift2, scale2)
        gate, up = self.gate_up(y).chunk(2, dim=-1)
        return torch.addcmul(x, gate2, self.down(F.silu(gate) * up))


class NNiT(nn.Module):
    """Predicts the clean patches from noisy ones, the architecture and the timestep."""

    def __init__(self, config: Config, observation_dim: int, action_dim: int) -> None:
        super().__init__()
        width = config.width
        widest = (max(VOCABULARY),) * HIDDEN_LAYERS
        rows, cols = map(max, zip(*patch_grids(widest, observation_dim, action_dim, config.patch), strict=True))
        self.patch_in = nn.Linear(config.patch**2, width)
        self.layer_embedding = nn.Embedding(HIDDEN_LAYERS + 1, width)
        self.row_embedding = nn.Embedding(rows, width)
        self.col_embedding = nn.Embedding(cols, width)
        self.width_embedding = nn.Embedding(len(VOCABULARY), width)
        self.depth_embedding = nn.Embedding(HIDDEN_LAYERS, width)
        self.timestep_mlp = nn.Sequential(nn.Linear(256, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = nn.Linear(width, 2 * width)
        self.patch_out = nn.Linear(width, config.patch**2)
        # The first prediction is the mean of the data, zero, whatever the noise: training starts at the loss's scale.
        for linear in (self.modulation, self.patch_out):
            nn.init.zeros_(linear.weight)
            nn.init.zeros_(linear.bias)

    def forward(self, noisy: Tensor, positions: Tensor, widths: Tensor, t: Tensor) -> Tensor:
        """noisy (B, L, P), positions (L, 3), width indices (S,), timesteps (B,) to clean patches (B, L, P)."""
        frequencies = torch.exp(-math.log(10000) / 128 * torch.arange(128, device=t.device))
        angles = t[:, None] * frequencies  # (B, 128)
        condition = self.timestep_mlp(torch.cat([angles.cos(), angles.sin()], dim=1))  # (B, D)
        layer, row, col = positions.unbind(1)
        place = self.layer_embedding(layer) + self.row_embedding(row) + self.col_embedding(col)  # (L, D)
        arch = self.width_embedding(widths) + self.depth_embedding.weight  # (S, D)
        x = torch.cat([arch.expand(len(noisy), -1, -1), self.patch_in(noisy) + place], dim=1)  # z = [z_a; z_w]
        for block in self.blocks:
            x = block(x, condition)
        shift, scale = self.modulation(condition)[:, None].chunk(2, dim=-1)
        return self.patch_out(modulate(self.norm(x[:, len(arch) :]), shift, scale))


# ---------------------------------------------------------------------------------------------------------------------
# Diffusion: forward process, sampling (section 5.4) and training (section 5.3)


def signal_levels(timesteps: int) -> Tensor:
    """Cumulative products alpha-bar of the linear schedule, (T,): x_t = sqrt(level) x0 + sqrt(1 - level) noise."""
    return torch.cumprod(1 - torch.linspace(1e-4, 2e-2, timesteps, dtype=torch.float64), dim=0).float()


@torch.no_grad()
def denoise(model: NNiT, noise: Tensor, positions: Tensor, widths: Tensor, config: Config) -> Tensor:
    """DDIM without added noise (Song et al. 2021, Eq. 12) from `noise` to clean patches, both (B, L, P)."""
    x = noise
    levels = signal_levels(config.timesteps).tolist()
    steps = torch.linspace(config.timesteps - 1, 0, config.sampling_steps).long().tolist()
    for t, level_next in zip(steps, [levels[s] for s in steps[1:]] + [1.0], strict=True):
        level = levels[t]
        clean = model(x, positions, widths, torch.full((len(x),), t, device=x.device))
        predicted_noise = (x - math.sqrt(level) * clean) / math.sqrt(1 - level)
        x = math.sqrt(level_next) * clean + math.sqrt(1 - level_next) * predicted_noise
    return x


@dataclass(frozen=True)
class Corpus:
    """The training networks of one architecture as the transformer sees them."""

    patches: Tensor  # (N, L, P), normalised
    positions: Tensor  # (L, 3)
    widths: Tensor  # (S,)


def build_corpora(training: TrainingSet, patch: int, device: torch.device) -> tuple[list[Corpus], float]:
    """All training networks as normalised patches, one corpus an architecture, and the scale that normalises them.

    An architecture of which the zoo validated no network has no corpus.
    """
    scale = training.scale
    policies = {arch: list(training.networks(arch).values()) for arch in training.architectures}
    corpora = []
    for arch in [arch for arch, group in policies.items() if group]:
        grids = patch_grids(arch, training.task.observation_dim, training.task.action_dim, patch)
        patches = torch.stack([patchify(weights, patch) for weights in policies[arch]]) * scale
        corpora.append(Corpus(*(x.to(device) for x in (patches, patch_positions(grids), width_indices(arch)))))
    return corpora, scale


def pick_device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def has_matrix_units(device: torch.device) -> bool:
    """Whether bfloat16 is fast here; a CPU without AMX emulates it many times slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.cpu._is_amx_tile_supported()


def learning_rate(step: int, config: Config) -> float:
    """Cosine from `peak_lr` to `min_lr` with a linear warm-up; `step` counts from 1."""
    cosine = 0.5 * (1 + math.cos(math.pi * step / config.steps))
    return min(1.0, step / config.warmup) * (config.min_lr + (config.peak_lr - config.min_lr) * cosine)


@torch.no_grad()
def update_ema(ema: nn.Module, model: nn.Module, decay: float, step: int) -> None:
    decay = min(decay, (1 + step) / (10 + step))  # early on the average would still be mostly initialisation
    for average, current in zip(ema.parameters(), model.parameters(), strict=True):
        average.lerp_(current, 1 - decay)


def denoising_loss(model: NNiT, corpus: Corpus, levels: Tensor, config: Config, rng: torch.Generator) -> Tensor:
    """Weighted error of x0 on random networks of one architecture, at random noise levels."""
    device = levels.device
    chosen = torch.randint(len(corpus.patches), (config.batch,), generator=rng).to(device)
    # One timestep in each of B equal parts: uniform as before, with less variance from step to step.
    spread = (torch.arange(config.batch) + torch.rand(config.batch, generator=rng)) / config.batch
    t = (spread * config.timesteps).long().clamp(max=config.timesteps - 1).to(device)  # (B,); rounding can reach T
    noise = torch.randn((config.batch, *corpus.patches.shape[1:]), generator=rng).to(device)
    clean, level = corpus.patches[chosen], levels[t, None, None]  # (B, L, P), (B, 1, 1)
    noisy = level.sqrt() * clean + (1 - level).sqrt() * noise
    with torch.autocast(device.type, torch.bfloat16, enabled=has_matrix_units(device)):
        predicted = model(noisy, corpus.positions, corpus.widths, t)
    # In the unit of the noise an error of x0 weighs SNR = level / (1 - level) times itself (Salimans and Ho 2022).
    # Unclamped, the last steps before clean data would be all that counts and the first would not count at all.
    weight = (level / (1 - level)).clamp(0.1, 20.0)
    return (weight * (predicted.float() - clean).square()).mean()


def train(training: TrainingSet, config: Config, seed: int, path: Path) -> tuple[NNiT, float, float, float]:
    """The averaged model, the scale of its data, the last loss and the seconds it took.

    Goes on from the state in `path`, bit for bit as if it had never stopped. Raises ValueError if that state belongs
    to another run and FloatingPointError if the loss diverges.
    """
    device = pick_device()
    corpora, scale = build_corpora(training, config.patch, device)
    with torch.random.fork_rng(devices=[]):  # the layers' initialisers know only the global generator
        torch.default_generator.manual_seed(seed)
        model = NNiT(config, training.task.observation_dim, training.task.action_dim).to(device)
    ema = copy.deepcopy(model).requires_grad_(False)
    parts = {"model": model, "ema": ema}
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.0, fused=True)
    rng = torch.Generator().manual_seed(seed)  # on the CPU: equal draws on every device
    levels = signal_levels(config.timesteps).to(device)

    run = {"config": asdict(config), "seed": seed, "zoo_sha256": training.sha256}
    progress: dict[str, Any] = {"run": run, "step": 0, "loss": 0.0, "seconds": 0.0}
    if path.exists():
        progress = load_training_state(path, parts, optimizer, rng)
        if progress["run"] != run:
            raise ValueError(f"{path}: expected the state of {run}, found {progress['run']}; delete it to start anew")
    first, mean_loss, began = progress["step"], progress["loss"], time.perf_counter()
    with tqdm(total=config.steps, initial=first, desc="nnit", unit="step", disable=None) as bar:
        for step in range(first + 1, config.steps + 1):
            corpus = corpora[int(torch.randint(len(corpora), (), generator=rng))]
            loss = denoising_loss(model, corpus, levels, config, rng)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            for group in optimizer.param_groups:
                group["lr"] = learning_rate(step, config)
            optimizer.step()
            update_ema(ema, model, config.ema, step)

            if not math.isfinite(loss.item()):
                raise FloatingPointError(f"nnit: the loss is {loss.item()} at step {step}; lower peak_lr")
            mean_loss += (loss.item() - mean_loss) / min(step, 100)
            bar.set_postfix(loss=f"{mean_loss:.4f}", refresh=False)
            bar.update()
            if step % CHECKPOINT_EVERY == 0 or step == config.steps:
                elapsed = time.perf_counter() - began
                pace, first, began = 1000 * elapsed / (step - first), step, began + elapsed
                lr = learning_rate(step, config)
                tqdm.write(f"nnit step {step}  loss {mean_loss:.4f}  lr {lr:.2e}  {pace:.0f} ms/step")
                progress |= {"step": step, "loss": mean_loss, "seconds": progress["seconds"] + elapsed}
                save_training_state(path, parts, optimizer, rng, progress)
    return ema, scale, progress["loss"], progress["seconds"]


# ---------------------------------------------------------------------------------------------------------------------
# The method


@dataclass(frozen=True)
class Manifest:
    """What a saved model was trained on and how; `config.json`."""

    config: Config
    task: str
    observation_dim: int
    action_dim: int
    zoo_sha256: str
    scale: float  # diffused value = scale * weight
    seed: int
    final_loss: float
    seconds: float
    torch: str


class Method:
    """The conditional generator p(w | a)."""

    name: ClassVar[str] = "nnit"
    reads_ghn: ClassVar[bool] = False
    seen_only: ClassVar[bool] = False

    def __init__(self, model: NNiT, manifest: Manifest) -> None:
        self.model, self.manifest = model.eval(), manifest

    @classmethod
    def fit(cls, training: TrainingSet, *, seed: int, directory: Path, config: Config | None = None) -> Self:
        """Train on the zoo, going on from `directory/resume.safetensors` where a killed run left it.

        Raises ValueError if that file belongs to another run or an architecture has no embedding, and
        FloatingPointError if the loss diverges.
        """
        config = config or (REHEARSAL if training.rehearsal else DEFAULT)
        model, scale, loss, seconds = train(training, config, seed, directory / "resume.safetensors")
        for parameter in model.parameters():  # what `save` keeps, so that saving changes no policy
            parameter.copy_(parameter.bfloat16())
        manifest = Manifest(
            config=config,
            task=training.task.name,
            observation_dim=training.task.observation_dim,
            action_dim=training.task.action_dim,
            zoo_sha256=training.sha256,
            scale=scale,
            seed=seed,
            final_loss=loss,
            seconds=seconds,
            torch=torch.__version__,
        )
        return cls(model, manifest)

    def generate(self, arch: Architecture, n: int, *, seed: int = 0) -> list[Weights]:
        """n policies of any architecture made of known widths (section 5.4), float32 on the CPU.

        Policy i comes from noise of its own, so asking for fewer gives the first of them. Raises ValueError for a
        width or depth the model does not know.
        """
        facts, config = self.manifest, self.manifest.config
        device = next(self.model.parameters()).device
        widths = width_indices(arch).to(device)
        positions = patch_positions(patch_grids(arch, facts.observation_dim, facts.action_dim, config.patch)).to(device)
        policies: list[Weights] = []
        for first in range(0, n, GENERATE_BATCH):
            noise = torch.stack(
                [
                    torch.randn(len(positions), config.patch**2, generator=noise_generator(seed, arch, i))
                    for i in range(first, min(n, first + GENERATE_BATCH))
                ]
            )
            tokens = denoise(self.model, noise.to(device), positions, widths, config).cpu() / facts.scale
            policies += [
                unpatchify(sample, arch, facts.observation_dim, facts.action_dim, config.patch) for sample in tokens
            ]
        return policies

    def save(self, directory: Path) -> None:
        """Write `model.safetensors` (bfloat16) and `config.json` into an existing directory."""
        tensors = {key: value.to("cpu", torch.bfloat16) for key, value in self.model.state_dict().items()}
        save_file(tensors, directory / "model.safetensors")
        (directory / "config.json").write_text(json.dumps(asdict(self.manifest), indent=2) + "\n")

    @classmethod
    def load(cls, directory: Path, training: TrainingSet) -> Self:
        """Read what `save` wrote. Raises ValueError naming the file where it does not fit the zoo or this code."""
        path, remedy = directory / "config.json", "train again: nnbench train --method nnit"
        try:
            raw = json.loads(path.read_text())
            manifest = Manifest(**{**raw, "config": Config(**raw["config"])})
        except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(f"{path}: expected the manifest of an nnit model ({error!r}); {remedy}") from error
        task = training.task
        expected = {"task": task.name, "observation_dim": task.observation_dim, "action_dim": task.action_dim}
        for key, value in {**expected, "zoo_sha256": training.sha256}.items():
            if (found := getattr(manifest, key)) != value:
                raise ValueError(f"{path}: trained for {key} {found!r}, expected {value!r}; {remedy}")
        with torch.device("meta"):  # initial values would be drawn from the global generator and thrown away
            model = NNiT(manifest.config, task.observation_dim, task.action_dim)
        path = directory / "model.safetensors"
        try:
            model.load_state_dict({key: value.float() for key, value in load_file(path).items()}, assign=True)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise ValueError(f"{path}: expected the weights that config.json describes ({error}); {remedy}") from error
        return cls(model.to(pick_device()), manifest)


def noise_generator(seed: int, arch: Architecture, index: int) -> torch.Generator:
    """The noise source of one policy, independent of all others."""
    state = np.random.SeedSequence((seed, index, *arch)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))
