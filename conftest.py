"""The options of our tests; all the rest is in tests/conftest.py.

They stand up here because pytest reads `pytest --mine exercises/week01` before it knows the option, takes the folder
for one of tests, and looks for options there and above.
"""


def pytest_addoption(parser):
    parser.addoption("--mine", metavar="FOLDER", help="test the learner's files in FOLDER, as exercises/week01")
    parser.addoption("--week", type=int, metavar="N", help="of the tests that go over all weeks, those of week N alone")
