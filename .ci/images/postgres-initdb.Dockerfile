FROM orienter-test/postgres:local
COPY postgres-initdb-entrypoint /usr/local/bin/docker-entrypoint.sh
COPY postgres-initdb-mv /usr/local/bin/mv
# busybox as a shell would run its own mv
RUN ln -s /bin/bash /usr/local/bin/sh && chmod 755 /usr/local/bin/* && mkdir /docker-entrypoint-initdb.d && \
    echo "CREATE TABLE made_by_the_image AS SELECT 1 AS number" >/docker-entrypoint-initdb.d/table.sql
CMD ["postgres", "-c", "max_connections=61"]
