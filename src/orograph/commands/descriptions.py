"""What `--help` says of each command, with examples."""

SWEEP_HELP = """Train at each strength λ of L(θ) + λ‖θ − θ_ref‖², and record metrics, gradient, weights and Hessian eigenpairs.

Examples:
  orograph sweep                                        11 points on 5,000 embedded MNIST images
  orograph sweep --preset weight-decay --dry-run        what 451 points on all of MNIST would cost
  orograph sweep --preset anchor --anchor minimum.pth   501 points around a minimum of your own
  orograph sweep --direction both --out runs/hysteresis
  orograph sweep --config runs/hysteresis/configuration.toml --seeds 1,2
  orograph sweep --start fresh --cohort 4 --parallel processes --jobs 2

--preset anchor|weight-decay|classes and --config FILE.toml come first; every other flag overrides them.
The same command again resumes a run that was stopped."""

STUDY_HELP = """Train a grid of networks from several seeds, measure every minimum and every pair of minima, and relate their
geometry to generalisation. Comma lists multiply.

Examples:
  orograph study --dataset mnist-5k --model MLP1 --hidden-size 16,64 --num-seeds 2 --epochs 3 --fast --plot
  orograph study --hidden-size 4096 --epochs 50 --lr 5e-4 --subset-size 6000 --comprehensive --plot    the published wide study
  orograph study --hidden-size 128,512,2048 --optimizer SGD,AdamW --dry-run                             what a grid would cost
  orograph study --dataset mnist-5k --compare-optimizers --track-curvature 5 --2d-slice --spectrum-plot

--config FILE.toml comes first; every other flag overrides it. The same command again resumes a study that was stopped."""

MEASURE_HELP = """All numbers of one minimum: spectrum, density, trace, λ_min, ranks, gradient norm and scaled companions.

Examples:
  orograph measure runs/demo/test_data/model_weights-0-0.00200.pth
  orograph measure minimum.pth --data mnist --k 50 --which LA
  orograph measure mine.pth --model mypackage.nets:build --data mypackage.data:batches --loss mse_loss
  orograph measure minimum.pth --parameters 'fc1.*' --json
  torchrun --nproc-per-node 2 -m orograph measure minimum.pth --data mnist"""

ANALYZE_HELP = """What a finished sweep shows: classes, curvature, branches, free energy, transitions, hysteresis, certificates.

Examples:
  orograph analyze runs/demo                       every point, then the whole ladder; figures in runs/demo/figures
  orograph analyze runs/demo --dry-run             what there is to do, and what it costs
  orograph analyze runs/demo --density             with the spectral density of every point
  orograph analyze runs/demo --refine              insert points around transitions and judge their order
  orograph analyze runs/hysteresis --rate runs/hysteresis-rate --null runs/hysteresis-null
  orograph analyze runs/hysteresis --atlas runs/atlas   folds that were followed, in place of extrapolated spinodals

Nothing is trained again except points that --refine inserts. The same command again resumes an analysis that was stopped."""

REPORT_HELP = """One self-contained HTML file that shows a whole run: open it anywhere, send it to anyone; it needs no network.

Examples:
  orograph report runs/demo                      runs/demo/report.html; analyze the run first to have all of it
  orograph report runs/wide --out wide.html
  orograph report runs/demo --points 0.001:0.01  a part of a long ladder, in runs/demo/report-part.html"""

WATCH_HELP = """A run in progress, seen from another terminal: points done, pace, time left, the latest points, failures.

Examples:
  orograph watch runs/demo
  orograph watch runs/demo --tensorboard runs/demo-events    and logs it"""

EXPORT_HELP = """A run as one table (CSV or Parquet, a row a point), as a table for a paper (LaTeX, of sweeps and studies), or as
one netCDF file of labelled arrays.

Examples:
  orograph export runs/demo                            runs/demo.csv
  orograph export runs/demo --to parquet --out demo.parquet
  orograph export runs/demo --to netcdf --vectors      with θ, gradients and eigenvectors
  orograph export runs/demo --to latex --points 0.001:0.01 --columns test_loss,lambda_first,trace"""

IMPORT_HELP = """Published artifacts made elsewhere become a run, which analyze and report take. What the files do not say is
given here: data, model, anchor. Every point is measured again, every eigenpair is verified by a product.

Examples:
  orograph import downloads/sweep --dataset mnist --out runs/theirs
  orograph import downloads/anchor --dataset mnist --anchor minimum.pth
  orograph import downloads/small --dataset digits --widths 32,32 --activation tanh"""

CARD_HELP = """The README.md with which a run is shared on a model or data hub: what it is, how to load, check and cite it, files,
fields with units, settings, licence; and SHA256SUMS of every file beside it, for sha256sum --check. Give it last.

Example:
  orograph card runs/demo --license cc-by-4.0"""

EXTEND_HELP = """Add to a sweep that is there: strengths, seeds, directions, or more eigenpairs at all of its points.

Examples:
  orograph extend runs/demo --strengths 0.03,0.04      new points begin at the nearest one before them on their chain
  orograph extend runs/demo --seeds 1,2                two more networks on the same ladder
  orograph extend runs/demo --direction both           the ladder descended, too, from where the climb ended
  orograph extend runs/demo --k 50 --dry-run           what 50 pairs at every point would cost; nothing is trained
  orograph extend runs/demo --k 50

What is there keeps its bytes. The same command again resumes one that was stopped; so does: orograph extend RUN."""

REDO_HELP = """Take points of a sweep out and make them again, and say whether they are what they were.

Examples:
  orograph redo runs/demo --strengths 0.002
  orograph redo runs/hysteresis --strengths 0.002,0.004 --seeds 1 --direction down

Points behind them on their chain stay as they are; points that are missing are made, too. Stopped, the sweep's own command goes
on."""

JOIN_HELP = """Sweeps that differ in their strengths, seeds or directions alone, made into one run; nothing is computed.

Examples:
  orograph join runs/seed-0 runs/seed-1 --out runs/both
  orograph join runs/lower runs/upper --out runs/ladder

What is joined stays as it is. Points that none of the runs has are made by:
  orograph sweep --config runs/both/configuration.toml --out runs/both"""

DOCTOR_HELP = """Versions, processor, threads, memory, accelerators, data sets found; or what is damaged in a run.

Examples:
  orograph doctor
  orograph doctor runs/demo             every file of the run against what was committed
  orograph doctor runs/demo --repair    restores what has a copy, and marks the rest to be made again by the same command"""

FOLLOW_HELP = """Follow critical points of L(θ) + λ‖θ − θ_ref‖² as λ changes: through folds onto branches no training reaches,
with what happens on the way (folds, turns, branch points) placed and told apart. Arithmetic is float64.

Examples:
  orograph follow runs/demo --strength 0.002                  from a point of a sweep towards larger λ
  orograph follow runs/demo --direction both --points 400     both ways from its smallest λ
  orograph follow runs/demo --switch 1 --parallel processes   also the branches that leave branch points
  orograph follow minimum.pth --strength 0.001 --data mnist-5k --subset-size 1000 --widths 32
  orograph follow runs/demo --dry-run                         what it would cost

The same command again resumes a run that was stopped."""

ATLAS_HELP = """Branches, sweeps and their jumps as one graph: critical points, the stretches between them, descents from saddles
with their barriers, strengths at which two minima are equally deep.

Examples:
  orograph atlas runs/branch                       the branches of one run
  orograph atlas runs/up runs/down runs/hysteresis branches, and a sweep whose points and jumps are placed on them
  orograph atlas runs/branch --descents 3 --dry-run

The same command again resumes an atlas that was stopped."""

ESCAPE_HELP = """How long SGD stays in the state before a jump of a sweep: many chains for each strength, batch size and learning
rate, their survival and rates, and Arrhenius held against a power law in the ratio of losses.

Examples:
  orograph escape runs/demo --dry-run                             what it would cost
  orograph escape runs/demo --jump 1 --atlas runs/atlas           with the heights of saddles that were followed
  orograph escape runs/demo --at 0.0121,0.0123,0.0125 --chains 64 several barriers tell the laws apart
  orograph escape runs/demo --batch-sizes 2,4,8 --learning-rates 0.1,0.2 --steps 20000

The same command again resumes a run that was stopped."""

CONNECT_HELP = """Two minima of one network, connected: by the straight line, a Bézier curve, a chain, an elastic band, the line
after units were matched, and the path of minima of L + λ‖θ − θ_ref‖² from the first to θ_ref, the second. Of each: losses and
accuracies along it, its barriers, its length, and the classes that are lost and found on the way.

Examples:
  orograph connect A.pth B.pth --data mnist-5k                     two networks as sweep and study train them
  orograph connect A.pth B.pth --model mine.py:build --data mine.py:load --loss mse_loss
  orograph connect A.pth B.pth --paths linear,aligned,anchored --curve-points 51 --out runs/between
  orograph connect A.pth B.pth --dry-run                           what it would cost

The folder has the numbers (connection.json, connection.csv), figures, and report.html. The same command again resumes a run that
was stopped."""

VERIFY_HELP = """Networks whose critical points are known in closed form: folds, turns, branch points, Maxwell points, indices and
multiplicities, found by following branches, beside the true ones. A minute; exit code 1 where one is wrong.

Examples:
  orograph verify
  orograph verify --dtype float32"""
