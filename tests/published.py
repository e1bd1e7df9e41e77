"""What Workiva and Autodesk published, word for word."""

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

SEED_TASK: dict[str, Any] = {
    "id": "4d539b8f-c522-4f1c-9743-d7fdfa9e9c9e",
    "stepId": "d6635799-e973-4c9c-80d8-fb4b3591ef6b",
    "status": "completed",
    "assignedTo": "WD43ZJGKDFLFH",
    "assignedToType": "1",
    "isRequired": True,
    "stepDueDate": "2024-02-15",
    "responseId": "2d46d30b-7dc1-4a65-991d-d739a1381eb8",
    "responseComment": "Approved without changes.",
    "respondedAt": "2024-02-03T12:09:24.198466Z",
    "respondedBy": "WD43ZJGKDFLFH",
    "createdAt": "2024-03-21T23:04:49.406Z",
    "createdBy": "WD43ZJGKDFLFH",
    "updatedAt": "2024-03-24T23:04:49.406674Z",
    "updatedBy": "WD43ZJGKDFLFH",
    "startedAt": "2024-03-21T23:15:49.406894Z",
    "completedAt": "2024-03-24T23:04:49.4066344Z",
    "completedBy": "WD43ZJGKDFLFH",
    "permittedActions": [
        {
            "id": "Task::partial_update",
            "fields": {"responseComment": [], "responseId": []},
            "mandatoryFields": ["responseId"],
            "transitions": [""],
        }
    ],
}
"""The answer to "GET tasks/{taskId}" of Autodesk's Submittals [TASK]: three, six and seven digits of a second."""
