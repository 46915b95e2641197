"""The job: what the user wants, as frozen values. `jobfile` reads them from YAML; nothing here parses or guesses.

The classes are dataclasses so that a worker can hold a job without importing the validator. The bounds in
`Annotated[...]` are enforced at the one edge where a job file is read (`jobfile.load`); a docstring under a field is
its description in the JSON Schema.
"""

from __future__ import annotations

from dataclasses import field
from typing import Annotated, Any, Literal

from launcher.bounds import above, at_least, at_most, no_longer_than
from launcher.levers import Automatic, ModelOptions, OptimizerOptions, ParallelOptions
from launcher.section import Positive, Section, section

TaskKind = Literal["native", "lightning", "ignite", "script"]
Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["auto", "fp32", "bf16", "fp16"]
Numerics = Literal["exact", "fast"]
FreedMemory = Literal["auto", "keep", "return"]
Mode = Literal["min", "max"]
Overlap = Literal["none", "files", "all"]
FailureClass = Literal["preemption", "hardware", "capacity", "environment", "hang", "user"]
BackendName = Literal["local", "ssh", "slurm", "docker", "kubernetes"]

Interval = Literal["epoch"] | Positive
MOST_NODES = 4096


@section
class TaskSpec(Section):
    kind: TaskKind = "native"
    """Who owns the training loop: launcher's own (native), Lightning, Ignite, or the program itself (script)."""
    target: str
    """What to train: `path/to/file.py:function`, relative to the job file, or `package.module:function`."""
    args: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments for the target; for a script, its command-line options."""


@section
class Resources(Section):
    nodes: Annotated[int, at_least(1), at_most(MOST_NODES)] | Annotated[str, "a range such as 2..4"] = 1
    """How many machines; on the local backend, how many node programs on this machine. A range lets `retry` go on with
    fewer after a node is lost: as many as can share out the microbatches of a step equally, so that each step sees the
    same samples. The bits are those of one number of processes only."""
    procs_per_node: Literal["auto"] | Annotated[int, at_least(1), at_most(1024)] = "auto"
    """Worker processes on each node; auto: one for each GPU, or one where there is none."""
    device: Device = "auto"
    """Where tensors live; auto: cuda where the node has GPUs for all its processes, else cpu."""
    freed_memory: FreedMemory = "auto"
    """What becomes of memory that tensors give back. keep: the process keeps it for the next ones, which saves it from
    asking for the same pages in every step; return: the system gets it; auto: keep on the cpu, else return."""

    @property
    def most_nodes(self) -> int:
        """The number of nodes that the job asks for."""
        return int(str(self.nodes).rpartition("..")[2])

    @property
    def least_nodes(self) -> int:
        """The number of nodes that it makes do with."""
        return int(str(self.nodes).partition("..")[0])


@section
class Training(Section):
    epochs: Positive | None = None
    """Length of the training in passes over the data; give this or `steps`."""
    steps: Positive | None = None
    """Length of the training in optimizer steps; give this or `epochs`."""
    batch_size: Positive = 32
    """Samples in one optimizer step, over all processes and accumulated microbatches (global)."""
    seed: Annotated[int, at_least(0), at_most(2**63 - 1)] = 0
    """From it follow the data order, the initial weights, dropout and augmentation."""
    precision: Precision = "fp32"
    """Number type of autocast; fp16 trains with a GradScaler; auto: bf16 or fp16 on GPUs that have it, else fp32."""
    numerics: Numerics = "exact"
    """exact: deterministic kernels, the same bits for the same number of processes; fast: speed before bits."""
    accumulate: Positive = 1
    """Microbatches in one optimizer step."""
    clip_norm: Annotated[float, above(0)] | None = None
    """Largest norm of the gradient; a longer one is scaled down to it."""
    validate_every: Interval = "epoch"
    """When to validate: after each epoch, or every so many steps."""
    log_every: Positive = 50
    """Every so many steps a line is added to metrics.jsonl."""


@section
class Loader(Section):
    workers: Annotated[int, at_least(0), at_most(256)] = 0
    """Loader processes of each worker; their number changes the speed, never the samples."""
    prefetch: Positive = 2
    """Batches each loader process keeps ready."""
    pin: Automatic = "auto"
    """Whether batches are made in pinned memory, from which a GPU copies by itself; auto: for a GPU."""
    ahead: Automatic = "auto"
    """Whether the next batch is copied to the device while the current one is computed; auto: to a GPU."""


@section
class Best(Section):
    metric: str
    """Name of a validation metric."""
    mode: Mode = "min"
    """min: smaller is better; max: larger is better."""


@section
class Checkpointing(Section):
    every: Interval = "epoch"
    """When to save: after each epoch, or every so many steps; the last step is always saved."""
    keep: Annotated[int, at_least(2)] = 2
    """How many of the newest verified checkpoints to keep, beside the best one."""
    overlap: Overlap = "files"
    """What of a save goes on beside the training. none: nothing, so a death costs at most `every` steps; files: the
    writing, once the state is copied; all: the copying too, until an optimizer steps, if only it changes weights."""
    best: Best | None = None
    """Keep the checkpoint with the best validation metric too."""
    resume: str = "never"
    """never: a new run; auto: go on with the newest unfinished run of this job; or the id of the run to go on with."""


@section
class EarlyStop(Section):
    metric: str
    """Name of the validation metric to watch."""
    mode: Mode = "min"
    """min: smaller is better; max: larger is better."""
    patience: Positive = 3
    """Validations without a better value after which training ends."""


@section
class Trackers(Section):
    csv: bool = False
    """metrics.csv in the run folder."""
    tensorboard: bool = False
    """TensorBoard's event files, under tensorboard/ in the run folder."""
    mlflow: bool = False
    """A run in MLflow, at MLFLOW_TRACKING_URI, else in mlflow.db (sqlite) beside the runs."""
    wandb: bool = False
    """A run of Weights & Biases in the run folder, offline unless WANDB_MODE says otherwise."""


@section
class Metrics(Section):
    prometheus: Annotated[int, at_least(1), at_most(65535)] | None = None
    """Port on loopback that serves loss, rate, step, checkpoint age and GPU use for scraping."""


@section
class Retry(Section):
    max: Annotated[int, at_least(0), at_most(100)] = 0
    """How many new attempts to make after a failure, each from the newest verified checkpoint. The same failure twice
    with no new checkpoint between ends the run all the same."""
    on: tuple[FailureClass, ...] = ("preemption", "hardware", "capacity", "environment", "hang")
    """What is tried again: preemption (killed from outside), hardware (a GPU, disk or node failed), capacity (memory,
    disk or another limit used up), environment (the node does not fit the job), hang (a rank no longer moves), user
    (the job's own code failed)."""
    delay: Annotated[float, at_least(0), at_most(3600)] = 1.0
    """Seconds to wait before an attempt that follows one without a new checkpoint; doubled with each more, up to
    5 minutes. After progress, and the first time, nothing is waited for."""


@section
class Hang(Section):
    seconds: Annotated[float, at_least(1), at_most(86400)] | None = 300.0
    """A rank hangs that has not moved for so long, and for five times as long as its phase ever took in this run; what
    has no usual length (building, the first step, validating, saving) may take ten times as long. After 100 steps
    twenty times the longest of them is enough, and 2 minutes at least. null: never."""


@section
class LookSpec(Section):
    seconds: Annotated[float, at_least(1), at_most(600)] = 5.0
    """A node that has not answered all questions by then is refused. Above 32 nodes each 32 get so long."""


@section
class LocalOptions(Section):
    threads: Literal["auto"] | Positive = "auto"
    """CPU threads of each process; auto: the cores of this machine shared out among the processes."""


@section
class SshOptions(Section):
    hosts: tuple[str, ...] = ()
    """Names of the machines, in the order of their node ranks; those beyond `resources.nodes` are spare."""
    spare: tuple[str, ...] = ()
    """Machines of which one takes the place of a host that failed, where `retry` makes a new attempt."""
    hosts_file: str | None = None
    """A file with one host a line in place of `hosts`; relative to the job file."""
    sync: Literal["shared", "rsync"] = "shared"
    """How code and results travel. shared: all nodes see the run folder and the job under the same paths; rsync: they
    are copied to `.launcher/` in each host's home before an attempt, and the results back after it."""
    python: str | None = None
    """The Python on the hosts; by default the path of the one that runs launcher."""
    interface: str | None = None
    """Network interface for the traffic between nodes; by default the one by which ssh reaches the first node."""
    user: str | None = None
    """Login name; by default as the ssh configuration has it."""
    port: Annotated[int, at_least(1), at_most(65535)] | None = None
    """Port of sshd; by default as the ssh configuration has it."""
    config: str | None = None
    """An ssh configuration in place of the user's own."""
    pass_env: tuple[str, ...] = ()
    """Names of variables of this shell that travel to the workers; nothing else of its environment does. Their values
    are written down nowhere."""


@section
class SlurmOptions(Section):
    partition: str | None = None
    """Partition; by default the site's."""
    account: str | None = None
    """Account to charge; by default the user's."""
    time: str | None = None
    """Longest time of one stay on the nodes, as Slurm writes it (`2:30:00`, `1-0`); by default the partition's."""
    save_before: Annotated[int, at_least(10), at_most(3600)] = 120
    """So many seconds before the end of that time the ranks save, and the job goes back into the queue."""
    requeue: bool = True
    """Whether the job goes back into the queue when its time is up, or Slurm needs its nodes for others."""
    cpus: Positive | None = None
    """Cores on each node; by default those of the plan's threads."""
    memory: str | None = None
    """Memory on each node (`32G`); by default the site's."""
    options: dict[str, str] = field(default_factory=dict)
    """Further options of sbatch by their long names: `{constraint: a100, qos: long}`."""
    setup: tuple[str, ...] = ()
    """Lines of shell that the batch script runs first, such as `module load cuda`."""
    python: str | None = None
    """The Python on the nodes; by default the path of the one that runs launcher."""
    interface: str | None = None
    """Network interface for the traffic between nodes; by default the one by which Slurm reaches the first node."""
    pass_env: tuple[str, ...] = ()
    """Names of variables of this shell that travel to the workers; nothing else of its environment does."""


@section
class KubernetesOptions(Section):
    kind: Literal["job", "jobset"] = "job"
    """job: an indexed Job with a headless Service, which every cluster has; jobset: where JobSet is installed."""
    job_dir: str | None = None
    """Where pods have the job's folder: in the image, or under /mnt/runs on the claim."""
    claim: str | None = None
    """The PersistentVolumeClaim that holds the run folders; of several nodes it has to be ReadWriteMany."""
    gpus: Annotated[int, at_least(0), at_most(1024)] = 0
    """GPUs of each pod."""
    cpus: Positive = 2
    """Cores of each pod."""
    memory: str = "8Gi"
    """Memory of each pod, shared memory included."""
    shm: str = "1Gi"
    """Most shared memory of a pod, for loader processes."""
    secret: str | None = None
    """A Secret of the cluster whose keys become variables of the workers; nothing of this shell's environment does."""
    namespace: str | None = None
    """Namespace; by default the context's."""
    context: str | None = None
    """Context of kubectl; by default its current one."""
    interface: str = "eth0"
    """Network interface of a pod for the traffic between nodes."""
    node_selector: dict[str, str] = field(default_factory=dict)
    """Labels that a machine must have: `{nvidia.com/gpu.product: NVIDIA-H100-80GB-HBM3}`."""
    labels: dict[str, str] = field(default_factory=dict)
    """Further labels of the Job, such as Kueue's: `{kueue.x-k8s.io/queue-name: team}`."""


@section
class DockerOptions(Section):
    gpus: Literal["auto", "runtime", "cdi"] = "auto"
    """How containers get their GPUs: by NVIDIA's container runtime or by a CDI specification; auto: what it has."""
    user: Literal["auto", "caller", "root"] = "auto"
    """Who the containers run as; auto: the caller, or root where the engine is rootless, whose root is the caller."""


@section
class JobSpec(Section):
    name: Annotated[str, no_longer_than(64)]
    """Letters, digits, `.`, `_` and `-`; the run id begins with it."""
    task: TaskSpec
    """What is trained, and who owns the loop."""
    resources: Resources = field(default_factory=Resources)
    """How many machines and processes, and on which device."""
    training: Training
    """How long, how much at once, and in which numbers."""
    model: ModelOptions = field(default_factory=ModelOptions)
    """How the model is computed."""
    optimizer: OptimizerOptions = field(default_factory=OptimizerOptions)
    """How the optimizers compute."""
    parallel: ParallelOptions = field(default_factory=ParallelOptions)
    """How several processes share the work."""
    loader: Loader = field(default_factory=Loader)
    """How samples are read."""
    checkpoint: Checkpointing = field(default_factory=Checkpointing)
    """When to save, what to keep, and where to go on from."""
    trainer: dict[str, Any] = field(default_factory=dict)
    """For the lightning kind: further arguments of Lightning's Trainer, by their names."""
    early_stop: EarlyStop | None = None
    """End the training when a metric gets no better; without this section it runs its whole length."""
    trackers: Trackers = field(default_factory=Trackers)
    """Where the metrics are mirrored; a tracker that fails never touches the run."""
    metrics: Metrics = field(default_factory=Metrics)
    """How the metrics can be read while the run goes on."""
    retry: Retry = field(default_factory=Retry)
    """What to do after a failure."""
    hang: Hang = field(default_factory=Hang)
    """When a rank that no longer moves is taken for hung: all ranks say where they are, and the attempt ends."""
    preflight: Literal["off", "warn", "fail", "strict"] = "fail"
    """What envcheck may find on a node before training begins there: fail refuses on a FAIL, strict also on a WARN or
    UNKNOWN, warn only records, off does not look."""
    look: LookSpec = field(default_factory=LookSpec)
    """How long the look at all nodes together may take, before each attempt on several machines."""
    data: tuple[str, ...] = ()
    """Absolute paths of files and folders that every node must have alike; several machines are compared before a run,
    by names, sizes and how files begin."""
    env: dict[str, str] = field(default_factory=dict)
    """Environment variables of the workers."""
    image: str = "cpu"
    """What containers run: a variant of images/versions.toml (cpu, cu130, …), or the digest of an image the engine
    holds (sha256:…). Only backends with containers look at it."""
    backend: BackendName = "local"
    """Where the node programs run."""
    local: LocalOptions = field(default_factory=LocalOptions)
    """Options of the local backend."""
    ssh: SshOptions = field(default_factory=SshOptions)
    """Options of the ssh backend, and of docker where it runs containers on hosts."""
    slurm: SlurmOptions = field(default_factory=SlurmOptions)
    """Options of the slurm backend."""
    kubernetes: KubernetesOptions = field(default_factory=KubernetesOptions)
    """Options of the kubernetes backend."""
    docker: DockerOptions = field(default_factory=DockerOptions)
    """Options of the docker backend."""
