"""The simulated upstreams: what the published pages say, to the letter; what they leave open, as numbered assumptions.

Read in this order: `exchange` (a request, a response), `assumptions` (what nobody published), `life` (what an action does to a
task), `workspace` (the tasks, the clients, the journal of effects), `listing` and `shapes` (queries and JSON), `workiva` (the API
as a function), `faults` (what can go wrong on the way), `control` (how a test steers it), `server` (all of it on a port).

Autodesk's counterparts: `submittals` (the life of an item), `project`, `submittal_listing` and `submittal_json`, `authentication`
(tokens), `autodesk` (the API as a function).

Nothing here sleeps, rolls dice or reads a clock by itself but `server`. Nothing here imports the worker, and the worker never imports this.

The tags in brackets name the published source of a fact:

    [OAS]   the OpenAPI document of the 2026-01-01 Workiva API, info.version 1.2734.0
    [WPC]   the PyPI client `workiva-platform-client` 0.1.0, generated from spec 1.3283.0
    [SEED]  2022-01-01/submittaskaction.html      [P-list] …/getprototypetasks.html      [P-patch] …/partiallyupdateprototypetaskbyid.html
    [P-obj] 2022-01-01/prototypetasks.html        [L-obj]  …/tasks.html (legacy)         [AUTH]    …/authentication.html
    [ERR]   2022-01-01/errors.html        [P-create] …/createprototypetask.html    [26-sus] 2026-01-01/sustainability-guide.html
    [L-gen] a client generated from the legacy specification
    [VER]   2022-01-01/versioning.html            [26-lim] 2026-01-01/limits.html        [26-help] 2026-01-01/helpers.html

and of Autodesk, below https://aps.autodesk.com/en/docs unless told otherwise (acc/v1/reference/http/submittals-…):

    [TASK]  tasks-taskId-GET        [CLOSE] tasks-taskIdclose-POST      [STEPS] steps-GET          [REV]  revisions-GET
    [ITEMS] items-GET               [ITEM]  items-itemId-GET            [RESP]  responses-GET      [TPL]  templates-GET
    [ME]    users-me-GET            [META]  metadata-GET                [MAP]   mappings-GET
    [TUT]   acc/v1/tutorials/submittals/submittal-transitions.rst       [RATE]  acc/v1/overview/rate-limits/submittals-rate-limits
    [TOKEN] oauth/v2/reference/http/gettoken-POST                       [AUTHERR] oauth/v2/developers_guide/error_handling
    [JWT]   ssa/v1/developers_guide/jwt-assertions                      [OAS-A] github.com/autodesk-platform-services/aps-sdk-openapi
    [REFRESH] forge.autodesk.com/blog/about-refresh-token
    [RATEGEN] aps.autodesk.com/blog/rate-limiting-and-how-request-limit-increases
    [PERM]  help.autodesk.com: Submittals_Permissions                   [TPLHELP] help.autodesk.com: Submittal_Review_Templates
"""
