FROM scratch
ADD layer.tar /
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8
VOLUME /data
EXPOSE 9000
ENTRYPOINT ["entrypoint"]
