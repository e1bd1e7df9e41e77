"""`python -m tests.catalogue.golden`: write down what is published now."""

import json

from tests.catalogue.test_catalogue import GOLDEN, shapes

if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(shapes(), indent=1, sort_keys=True) + "\n", encoding="utf-8")
