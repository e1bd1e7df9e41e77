"""What Workiva published, word for word."""

from typing import Any

EXAMPLE: dict[str, Any] = {
    "approvalSteps": [
        {
            "completionMode": "ONE",
            "dueAt": None,
            "participants": [
                {"id": "V0ZVc2VyHzY0MTI5NzM0MzkxODg5OTI", "type": "USER"},
                {"id": "V0ZVc2VyHzU0MDg3OTc0MDE4MDg4OTY", "type": "USER"},
            ],
            "responses": [
                {
                    "action": "REJECT",
                    "comment": "please refine",
                    "created": {"dateTime": "2023-06-11T13:00:00+00:00", "user_id": "V0ZVc2VyHzU0MDg3OTc0MDE4MDg4OTY"},
                }
            ],
        }
    ],
    "assignees": [{"id": "V1ZVd2VyFzU3NiQ1NDA4NjIzNzk2MjD", "type": "USER"}],
    "created": {"dateTime": "2019-10-29T15:03:27Z"},
    "description": "Review document for spelling and grammar",
    "dueAt": "2019-10-30T00:00:00Z",
    "id": "VGFzax41MWNmOGZjMDQxMzc1MmRlYWZjMTA2ZjgyMzJiNDllZg",
    "modified": {"dateTime": "2019-10-29T15:03:27Z"},
    "sourceUrl": "https://app.wdesk.com/tasks/d/UVdOauIzVaVkQjdxTmzNNUOEUTQOakEnTnpJTE9ENXkuEkdGeaF4OENNJEV3NUTBmA?token=NTc0NDU2MTg1MjM0ODUyTM",
    "status": "Awaiting Approval",
    "title": "Review Document",
}
"""The answer in "Initiate a task action submission" [SEED]: `dueAt` and `user_id`, where the schemas have `dueDate` and `user.id`."""
