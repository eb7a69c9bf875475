"""The named data sets and what is known of them before they are read. Imports nothing heavy: the command line lists them."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Facts:
    """What is known of a named data set.

    Attributes:
        train: samples for training.
        test: samples for testing.
        input_shape: `(C, H, W)` of one sample.
        classes: their names.
        embedded: whether an installed package holds it, so that nothing is downloaded.
    """

    train: int
    test: int
    input_shape: tuple[int, int, int]
    classes: tuple[str, ...]
    embedded: bool = False


_TEN = tuple(str(digit) for digit in range(10))
_CLOTHES = ("T-shirt", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_KANA = ("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo")

FACTS = {
    "mnist-5k": Facts(4000, 1000, (1, 28, 28), _TEN, embedded=True),
    "digits": Facts(1442, 355, (1, 8, 8), _TEN, embedded=True),
    "mnist": Facts(60_000, 10_000, (1, 28, 28), _TEN),
    "fashion-mnist": Facts(60_000, 10_000, (1, 28, 28), _CLOTHES),
    "kmnist": Facts(60_000, 10_000, (1, 28, 28), _KANA),
    "cifar10": Facts(50_000, 10_000, (3, 32, 32), _OBJECTS),
}

NAMES = tuple(FACTS)
TEACHER = "linear-teacher"  # data that are drawn, and not read: pairs of numbers whose singular values are chosen
DATASETS = (*NAMES, TEACHER)
DATA_VARIABLE = "OROGRAPH_DATA"  # the environment variable that names the folder of local files
