"""The command `orograph`: settings become flags, nothing else happens here."""

import os
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version

from pydantic import BaseModel
from rich.console import Console

from orograph.errors import OrographError, unknown
from orograph.experiments.analysis.settings import AnalyzeSettings
from orograph.experiments.configure import parse
from orograph.experiments.data_settings import CardSettings, DoctorSettings, ExportSettings, ImportSettings, WatchSettings
from orograph.experiments.settings import PRESETS, Execution, MeasureSettings, SweepSettings
from orograph.experiments.study.settings import StudyExecution, StudySettings
from orograph.report.settings import ReportSettings


class SweepCommand(SweepSettings):
    """Settings of the run, and how this process does it."""

    execution: Execution = Execution()


SWEEP_HELP = """Train at each strength λ of L(θ) + λ‖θ − θ_ref‖², and record metrics, gradient, weights and Hessian eigenpairs.

Examples:
  orograph sweep                                        11 points on 5,000 embedded MNIST images
  orograph sweep --preset weight-decay --dry-run        what 451 points on all of MNIST would cost
  orograph sweep --preset anchor --anchor minimum.pth   501 points around a minimum of your own
  orograph sweep --direction both --polish --out runs/hysteresis
  orograph sweep --config runs/hysteresis/configuration.toml --seeds 1,2

--preset anchor|weight-decay|classes and --config FILE.toml come first; every other flag overrides them.
The same command again resumes a run that was stopped."""


def sweep(args: Sequence[str]) -> int:
    command = parse(SweepCommand, args, command="sweep", description=SWEEP_HELP, presets=PRESETS)
    from orograph.experiments.sweep import sweep as run_sweep  # torch is imported only for work

    settings = SweepSettings.model_validate(command.model_dump(exclude={"execution"}))
    return run_sweep(settings, command.execution)


class StudyCommand(StudySettings):
    """Settings of the study, and how this process does it."""

    execution: StudyExecution = StudyExecution()


STUDY_HELP = """Train a grid of networks from several seeds, measure every minimum and every pair of minima, and relate their
geometry to generalisation. Comma lists multiply.

Examples:
  orograph study --dataset mnist-5k --model MLP1 --hidden-size 16,64 --num-seeds 2 --epochs 3 --fast --plot
  orograph study --hidden-size 4096 --epochs 50 --lr 5e-4 --subset-size 6000 --comprehensive --plot    the published wide study
  orograph study --hidden-size 128,512,2048 --optimizer SGD,AdamW --dry-run                             what a grid would cost
  orograph study --dataset mnist-5k --compare-optimizers --track-curvature 5 --2d-slice --spectrum-plot

--config FILE.toml comes first; every other flag overrides it. The same command again resumes a study that was stopped."""


def study(args: Sequence[str]) -> int:
    command = parse(StudyCommand, args, command="study", description=STUDY_HELP, presets={})
    from orograph.experiments.study.run import study as run_study

    settings = StudySettings.model_validate(command.model_dump(exclude={"execution"}))
    return run_study(settings, command.execution)


MEASURE_HELP = """All numbers of one minimum: spectrum, density, trace, λ_min, ranks, gradient norm and scaled companions.

Examples:
  orograph measure runs/demo/test_data/model_weights-0-0.00200.pth
  orograph measure minimum.pth --data mnist --k 50 --which LA
  orograph measure mine.pth --model mypackage.nets:build --data mypackage.data:batches --loss mse_loss
  orograph measure minimum.pth --parameters 'fc1.*' --json"""


def measure(args: Sequence[str]) -> int:
    settings = parse(MeasureSettings, args, command="measure", description=MEASURE_HELP, presets={})
    from orograph.experiments.measuring import measure_checkpoint

    return measure_checkpoint(settings)


ANALYZE_HELP = """What a finished sweep shows: classes, curvature, branches, free energy, transitions, hysteresis, certificates.

Examples:
  orograph analyze runs/demo                       every point, then the whole ladder; figures in runs/demo/figures
  orograph analyze runs/demo --dry-run             what there is to do, and what it costs
  orograph analyze runs/demo --density             with the spectral density of every point
  orograph analyze runs/demo --refine              insert points around transitions and judge their order
  orograph analyze runs/hysteresis --rate runs/hysteresis-rate --null runs/hysteresis-null

Nothing is trained again except points that --refine inserts. The same command again resumes an analysis that was stopped."""


def analyze(args: Sequence[str]) -> int:
    settings = parse(AnalyzeSettings, args, command="analyze", description=ANALYZE_HELP, presets={})
    from orograph.experiments.analysis.analyze import analyze as run_analysis

    return run_analysis(settings)


REPORT_HELP = """One self-contained HTML file that shows a whole run: open it anywhere, send it to anyone; it needs no network.

Examples:
  orograph report runs/demo                      runs/demo/report.html; analyze the run first to have all of it
  orograph report runs/wide --out wide.html"""


def report(args: Sequence[str]) -> int:
    settings = parse(ReportSettings, args, command="report", description=REPORT_HELP, presets={})
    from orograph.report.report import report as write_report

    return write_report(settings)


EXPORT_HELP = """A run as one table (CSV or Parquet, a row a point) or as one netCDF file of labelled arrays.

Examples:
  orograph export runs/demo                            runs/demo.csv
  orograph export runs/demo --to parquet --out demo.parquet
  orograph export runs/demo --to netcdf --vectors      with θ, gradients and eigenvectors"""


def export(args: Sequence[str]) -> int:
    settings = parse(ExportSettings, args, command="export", description=EXPORT_HELP, presets={})
    from orograph.experiments.exporting import export as run_export

    return run_export(settings)


IMPORT_HELP = """Published artifacts made elsewhere become a run, which analyze and report take. What the files do not say is
given here: data, model, anchor. Every point is measured again, every eigenpair is verified by a product.

Examples:
  orograph import downloads/sweep --dataset mnist --out runs/theirs
  orograph import downloads/anchor --dataset mnist --anchor minimum.pth
  orograph import downloads/small --dataset digits --widths 32,32 --activation tanh"""


def import_run(args: Sequence[str]) -> int:
    settings = parse(ImportSettings, args, command="import", description=IMPORT_HELP, presets={})
    from orograph.experiments.importing import import_run as run_import

    return run_import(settings)


CARD_HELP = """The README.md with which a run is shared on a model or data hub: front matter, settings, files, how to load them.

Example:
  orograph card runs/demo --license cc-by-4.0"""


def card(args: Sequence[str]) -> int:
    settings = parse(CardSettings, args, command="card", description=CARD_HELP, presets={})
    from orograph.experiments.card import card as write_card

    return write_card(settings)


WATCH_HELP = """A run in progress, seen from another terminal: points done, pace, time left, the latest points, failures.

Example:
  orograph watch runs/demo"""


def watch(args: Sequence[str]) -> int:
    settings = parse(WatchSettings, args, command="watch", description=WATCH_HELP, presets={})
    from orograph.experiments.watch import watch as run_watch

    return run_watch(settings)


DOCTOR_HELP = """Versions, processor, threads, memory, accelerators, and which data sets are found where."""


def doctor(args: Sequence[str]) -> int:
    settings = parse(DoctorSettings, args, command="doctor", description=DOCTOR_HELP, presets={})
    from orograph.experiments.doctor import doctor as run_doctor

    return run_doctor(settings)


def completion(args: Sequence[str]) -> int:
    """Prints the completion script of a shell."""
    from orograph.experiments.completion import SHELLS, print_completion

    if len(args) != 1 or args[0] not in SHELLS:
        if args and args[0] in ("-h", "--help"):
            print('usage: eval "$(orograph completion bash)"\n\nThe completion script of a shell: ' + ", ".join(SHELLS) + ".")
            return 0
        raise unknown("shell", args[0] if args else "", SHELLS)
    print_completion(SETTINGS, args[0])
    return 0


SETTINGS: dict[str, type[BaseModel]] = {
    "sweep": SweepCommand,
    "study": StudyCommand,
    "measure": MeasureSettings,
    "analyze": AnalyzeSettings,
    "report": ReportSettings,
    "export": ExportSettings,
    "import": ImportSettings,
    "card": CardSettings,
    "watch": WatchSettings,
    "doctor": DoctorSettings,
}

COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "sweep": (sweep, "train and decompose along a ladder of strengths λ"),
    "study": (study, "train and measure a grid of networks, and relate geometry to generalisation"),
    "measure": (measure, "all numbers of one minimum"),
    "analyze": (analyze, "all that a finished sweep shows"),
    "report": (report, "one HTML file that shows a whole run"),
    "watch": (watch, "a run in progress, from another terminal"),
    "export": (export, "a run as a table or as labelled arrays"),
    "import": (import_run, "artifacts made elsewhere as a run"),
    "card": (card, "the README with which a run is shared"),
    "doctor": (doctor, "versions, devices, threads, data found"),
    "completion": (completion, "completion for bash, zsh or tcsh"),
}


def usage() -> str:
    lines = [f"  {name:<10} {text}" for name, (_, text) in COMMANDS.items()]
    head = ["usage: orograph COMMAND [OPTIONS]", "", "Measures and maps the loss landscapes of neural networks.", ""]
    tail = ["", "orograph COMMAND --help shows a command's options and examples; orograph --version the version."]
    return "\n".join([*head, *lines, *tail])


def main(args: Sequence[str] | None = None) -> int:
    """Runs one command; an input error is one sentence on stderr and exit code 2."""
    args = list(sys.argv[1:] if args is None else args)
    if not args or args[0] in ("-h", "--help"):
        print(usage())
        return 0 if args else 2
    if args[0] == "--version":
        print(version("orograph"))
        return 0
    try:
        if args[0] not in COMMANDS:
            raise unknown("command", args[0], COMMANDS)
        return COMMANDS[args[0]][0](args[1:])
    except OrographError as error:
        Console(stderr=True, highlight=False, soft_wrap=True).print(f"[bold red]error:[/] {_escape(str(error))}")
        return 2
    except BrokenPipeError:  # as in `orograph sweep --help | head`: whoever read has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains when it flushes
        return 141
    except KeyboardInterrupt:
        print("\nstopped; the same command resumes.", file=sys.stderr)
        return 130


def _escape(text: str) -> str:
    return text.replace("[", r"\[")
