"""An error in the user's input, told in one line."""


class InputError(ValueError):
    """An input that cannot be used.

    It prints as one line that names the file, the field, the problem and the remedy. Jobs and the command line
    show this line instead of a traceback, and exit with status 1.
    """

    def __init__(self, file: object, field: str, problem: str, remedy: str) -> None:
        self.file, self.field, self.problem, self.remedy = str(file), field, problem, remedy
        super().__init__(str(self))

    def __str__(self) -> str:
        line = f"{self.file}: {self.field}: {self.problem}; {self.remedy}"
        return " ".join(line.split())  # an id with a line break must not make two lines of it
