"""What a user did not mean to hand us, said in one line."""


class InputError(ValueError):
    """An input that cannot be used.

    Prints as one line that names the file, the field, what is wrong and what to do. Jobs and the
    command line show that line instead of a traceback and exit with status 1.
    """

    def __init__(self, file, field, problem, remedy):
        self.file, self.field, self.problem, self.remedy = str(file), field, problem, remedy
        super().__init__(str(self))

    def __str__(self):
        line = f"{self.file}: {self.field}: {self.problem}; {self.remedy}"
        return " ".join(line.split())  # a hostile id must not break the line in two
