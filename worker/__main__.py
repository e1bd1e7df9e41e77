"""`python -m worker` is `approvals`, for where the script is not on the path."""

from worker.cli import main

if __name__ == "__main__":
    main()
