"""Write the generated parts of README anew."""

from tests.readme.generate import README, generated

README.write_text(generated(README.read_text()))
