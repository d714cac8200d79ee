FROM scratch
ADD layer.tar /
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8
USER nobody
EXPOSE 11211
ENTRYPOINT ["memcached"]
