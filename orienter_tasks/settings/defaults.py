"""What `orienter:` means when a host says nothing: the services of Orient, in invoke.yaml's own shape."""

from __future__ import annotations

from typing import Any

from orienter_tasks.settings import catalog

SERVICES: dict[str, dict[str, Any]] = {
    "frontend": {
        # pnpm passes on what follows the script's name; without --strictPort Vite takes the next free port
        "command": [
            *("pnpm", "--filter", "@orient/dashboard-frontend", "run", "dev"),
            *("--strictPort", "--host", "${SERVICE_HOST}"),
        ],
        "port": "vite",
        "ready": {"http": "/@vite/client", "timeout": 60.0},  # for `/`, Vite would begin with the whole page's modules
    },
    "dashboard": {
        "command": ["pnpm", "--filter", "@orient/dashboard", "dev"],
        "port": "dashboard",
        "ready": {"http": "/api/auth/setup-required", "timeout": 60.0},
        "needs": ["postgres", "minio"],
    },
    "opencode": {
        "command": ["opencode", "serve", "--port", "${OPENCODE_PORT}", "--hostname", "${SERVICE_HOST}"],
        "port": "opencode",
        "ready": {"http": "/global/health", "timeout": 60.0},
        # it keeps sessions there, which those of another instance would list; nobody has to log in again
        "env": {"XDG_DATA_HOME": "${DATA_DIR}/xdg/data", "XDG_STATE_HOME": "${DATA_DIR}/xdg/state"},
        "copy_once": {"${XDG_DATA_HOME}/opencode/auth.json": "~/.local/share/opencode/auth.json"},
    },
    "whatsapp": {
        "command": ["npx", "tsx", "watch", "--clear-screen=false", "packages/bot-whatsapp/src/main.ts"],
        "port": "whatsapp",
        "ready": {"http": "/health", "timeout": 30.0},
        "needs": ["postgres", "minio"],
        "enabled_by": "WHATSAPP_ENABLED",
        "lease": "whatsapp",
        "env": {"DASHBOARD_ENABLED": "false"},
    },
    "slack": {
        "command": ["npx", "tsx", "watch", "--clear-screen=false", "packages/bot-slack/src/main.ts"],
        "needs": ["postgres", "minio"],
        "requires_env": ["SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "SLACK_APP_TOKEN"],
        "lease": "slack",  # a workspace sends each message to one of the sockets that it has
        "on_conflict": "skip",
    },
}


def ports() -> dict[str, int]:
    """Return every port's base, the lowest first."""
    services = {"whatsapp": 4097, "dashboard": 4098, "opencode": 4099, "vite": 5173}
    return dict(sorted({**services, **catalog.ports()}.items(), key=lambda port: port[1]))
