"""The first start of a PostgreSQL container: a cluster gets its place in the volume only once it is whole.

The image makes the database when its data directory is empty: initdb, a server without TCP for the user, the database
and the image's own scripts. Killed meanwhile, it would leave a directory that every later start takes for a finished
cluster. So a script lets the image do all that in a directory of its own, beside the place of the cluster:

    .orienter-new/     being made; nobody outside of the container can have written into it
    .orienter-whole/   made and stopped; its files are moved up, `PG_VERSION` last

What is found as `.orienter-new` was not finished, and is removed; nothing else ever is. Once the image's server answers
over TCP, everything is made. It does so on the container's own loopback only, and is stopped before the move.
"""

from __future__ import annotations

SCRIPT = """\
new=$PGDATA/.orienter-new whole=$PGDATA/.orienter-whole
set -e
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ ! -e "$whole" ]; then
        trap 'exit 143' INT TERM
        if [ -e "$new" ]; then
            echo 'orienter: the first start was interrupted: what it made is removed, and it begins again' >&2
            rm -rf "$new"
        fi
        PGDATA=$new "$@" -c listen_addresses=127.0.0.1 &
        until pg_isready -q -h 127.0.0.1 -U "$POSTGRES_USER" -d "$POSTGRES_DB"; do
            kill -0 $! 2>/dev/null || { wait $!; exit 1; }
            sleep 0.1
        done
        kill -s INT "$(head -n 1 "$new/postmaster.pid")"
        wait $! || :
        if [ -e "$new/postmaster.pid" ]; then
            echo 'orienter: the new cluster was not shut down cleanly' >&2
            exit 1
        fi
        [ "$(postgres -C fsync -D "$new")" = off ] || find "$new" -exec sync {} + || sync
        mv "$new" "$whole"
        trap - INT TERM
    fi
    ls -A "$whole" | grep -vx PG_VERSION | while IFS= read -r name; do
        if [ -e "$PGDATA/$name" ]; then
            echo "orienter: $PGDATA/$name is in the way of the new cluster" >&2
            exit 1
        fi
        mv "$whole/$name" "$PGDATA/"
    done
    mv "$whole/PG_VERSION" "$PGDATA/"
    sync "$PGDATA" || sync
fi
[ ! -e "$whole" ] || rmdir "$whole"
exec "$@"
"""
