FROM scratch
ADD layer.tar /
ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin LANG=C.UTF-8
STOPSIGNAL SIGQUIT
EXPOSE 80
CMD ["nginx", "-g", "daemon off;"]
