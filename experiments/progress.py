"""The progress of an extraction, on one line: the layer, its units done, and what is being done."""

from tqdm import tqdm


class UnitBar(tqdm):
    """A bar of the units of a layer; its methods are the callbacks of an extraction."""

    def __init__(self, *, disable: bool = False, leave: bool = True) -> None:
        super().__init__(unit="unit", disable=disable, leave=leave)

    def start(self, layer: str, num_units: int) -> None:
        """Another layer is worked on."""
        self.reset(num_units)
        self.set_description(layer)

    def stage(self, name: str, done: int, total: int) -> None:
        """So much of a stage is done: its name is shown, and how much if there is some."""
        self.set_postfix_str(f"{name} {done}/{total}" if done else name)
