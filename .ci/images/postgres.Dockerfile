FROM scratch
ADD layer.tar /
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8 PGDATA=/var/lib/postgresql/data TEMPLATE=/var/lib/postgresql/template
RUN mkdir -p "$TEMPLATE" && chown -R postgres /var/lib/postgresql && \
    gosu postgres initdb --pgdata="$TEMPLATE" --username=postgres --no-sync --wal-segsize=1 >/dev/null && \
    printf '\nhost all all all scram-sha-256\n' >>"$TEMPLATE/pg_hba.conf" && \
    printf "listen_addresses = '*'\nfsync = off\n" >>"$TEMPLATE/postgresql.conf"
VOLUME /var/lib/postgresql/data
STOPSIGNAL SIGINT
EXPOSE 5432
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
