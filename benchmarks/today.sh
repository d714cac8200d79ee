#!/usr/bin/env bash
# What people use today, after the scripts that this project replaces: containers one after the other, each waited for
# with one-second polls, then services one after the other, each waited for the same way.
# Usage: today.sh up|down. Its variables come from `inv env.export`; images are POSTGRES_IMAGE, MINIO_IMAGE, NGINX_IMAGE;
# APP is `demo` or `orient`.
set -euo pipefail
name() { echo "$PREFIX-$1-$AI_INSTANCE_ID"; }

wait_for() { # NAME COMMAND...
    local what=$1
    shift
    for _ in {1..60}; do
        if "$@" >/dev/null 2>&1; then return 0; fi
        sleep 1
    done
    echo "$what is not ready" >&2
    exit 1
}

healthy() { # NAME
    [ "$(docker inspect -f '{{.State.Health.Status}}' "$(name "$1")")" = healthy ]
}

launch() { # NAME COMMAND...: as the leader of a process group
    setsid nohup "${@:2}" >"$LOG_DIR/$1-today.log" 2>&1 &
    echo $! >"$PID_DIR/$1-today.pid"
}

service() { # NAME URL COMMAND...
    launch "$1" "${@:3}"
    wait_for "$1" curl -fsS -o /dev/null --max-time 2 "$2"
}

demo() {
    "$PYTHON" -m examples.demo.migrate >/dev/null
    service frontend "http://127.0.0.1:$VITE_PORT/" "$PYTHON" -m examples.demo.frontend
    service dashboard "http://127.0.0.1:$DASHBOARD_PORT/api/auth/setup-required" "$PYTHON" -m examples.demo.dashboard
    service opencode "http://127.0.0.1:$OPENCODE_PORT/global/health" "$PYTHON" -m examples.demo.opencode
    service whatsapp "http://127.0.0.1:$WHATSAPP_PORT/health" "$PYTHON" -m examples.demo.whatsapp
}

orient() { # the data is seeded and the mini-apps are built
    npx tsx scripts/migrate.ts
    launch frontend pnpm --filter @orient/dashboard-frontend run dev --strictPort --host 127.0.0.1
    service dashboard "http://127.0.0.1:$DASHBOARD_PORT/api/auth/setup-required" pnpm --filter @orient/dashboard dev
    service opencode "http://127.0.0.1:$OPENCODE_PORT/global/health" \
        opencode serve --port "$OPENCODE_PORT" --hostname 127.0.0.1
    eval "$(npx tsx scripts/load-secrets.ts)"
    service whatsapp "http://127.0.0.1:$WHATSAPP_PORT/health" \
        npx tsx watch --clear-screen=false packages/bot-whatsapp/src/main.ts
    launch slack npx tsx watch --clear-screen=false packages/bot-slack/src/main.ts
    wait_for frontend curl -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$VITE_PORT/@vite/client"
}

up() {
    mkdir -p "$LOG_DIR" "$PID_DIR" "$DATA_DIR/today"
    sed "s/@NGINX_PORT@/$NGINX_PORT/; s/@DASHBOARD_PORT@/$DASHBOARD_PORT/; s/@VITE_PORT@/$VITE_PORT/" \
        >"$DATA_DIR/today/nginx.conf" <<'CONF'
events {}
http {
    server {
        listen 127.0.0.1:@NGINX_PORT@;
        location /health { return 200; }
        location /api/ { proxy_pass http://127.0.0.1:@DASHBOARD_PORT@; }
        location / { proxy_pass http://127.0.0.1:@VITE_PORT@; }
    }
}
CONF
    docker network create "$PREFIX-network-$AI_INSTANCE_ID" >/dev/null
    docker run -d --name "$(name postgres)" --network "$PREFIX-network-$AI_INSTANCE_ID" \
        -p "127.0.0.1:$POSTGRES_PORT:5432" -v "$PREFIX-postgres-$AI_INSTANCE_ID:/var/lib/postgresql/data" \
        -e POSTGRES_USER -e POSTGRES_PASSWORD -e POSTGRES_DB "$POSTGRES_IMAGE" >/dev/null
    docker run -d --name "$(name minio)" --network "$PREFIX-network-$AI_INSTANCE_ID" \
        -p "127.0.0.1:$MINIO_API_PORT:9000" -v "$PREFIX-minio-$AI_INSTANCE_ID:/data" \
        --health-interval 10s --health-cmd 'curl -fsS http://127.0.0.1:9000/minio/health/live || mc ready local' \
        -e MINIO_ROOT_USER -e MINIO_ROOT_PASSWORD "$MINIO_IMAGE" server /data >/dev/null
    docker run -d --name "$(name nginx)" --network host \
        -v "$DATA_DIR/today/nginx.conf:/etc/nginx/nginx.conf:ro" "$NGINX_IMAGE" >/dev/null
    wait_for postgres docker exec "$(name postgres)" pg_isready -h 127.0.0.1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"
    if [ "$APP" = orient ]; then # its compose file: `interval: 10s`, which is also the time before the first check
        wait_for minio healthy minio
    else
        wait_for minio curl -sS -o /dev/null --max-time 2 "$AWS_ENDPOINT_URL"
    fi
    wait_for nginx curl -fsS -o /dev/null --max-time 2 "http://127.0.0.1:$NGINX_PORT/health"
    "$PYTHON" -c '
import os
from minio import Minio
v = os.environ
client = Minio(v["AWS_ENDPOINT_URL"].split("//")[1], v["AWS_ACCESS_KEY_ID"], v["AWS_SECRET_ACCESS_KEY"],
               region=v["AWS_REGION"], secure=False)
client.bucket_exists(v["S3_BUCKET"]) or client.make_bucket(v["S3_BUCKET"])'
    "$APP"
}

down() { # [volumes]
    local file
    for file in "$PID_DIR"/*-today.pid; do
        [ -e "$file" ] || continue
        kill -- "-$(cat "$file")" 2>/dev/null || true
        for _ in {1..100}; do kill -0 -- "-$(cat "$file")" 2>/dev/null || break; sleep 0.1; done
        rm -f "$file"
    done
    docker stop "$(name postgres)" "$(name minio)" "$(name nginx)" >/dev/null 2>&1 || true
    docker rm -f "$(name postgres)" "$(name minio)" "$(name nginx)" >/dev/null 2>&1 || true
    docker network rm "$PREFIX-network-$AI_INSTANCE_ID" >/dev/null 2>&1 || true
    if [ "${1:-}" = volumes ]; then
        docker volume rm "$PREFIX-postgres-$AI_INSTANCE_ID" "$PREFIX-minio-$AI_INSTANCE_ID" >/dev/null 2>&1 || true
    fi
}

"$@"
