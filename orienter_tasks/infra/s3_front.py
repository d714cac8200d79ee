"""The nginx before rclone: it refuses what rclone would do harm with.

All paths are relative to the working directory, since a socket's path has at most 103 bytes. What rclone needs:

- Its errors are text/xml, which minio-py does not accept.
- It refuses the preflight requests of browsers, which are never signed. MinIO, too, lets every origin ask.
- It keeps an object as a file, and objects below its name in a directory, and `a/` is `a` to it. For a DELETE of
  `a/b` it removes `a`, which it takes for an empty directory; a PUT removes the former object before it renames the
  new one. So requests to change what cannot be are refused, and while a request to change `a` is in rclone one to
  change `a/b` gets SlowDown, and the other way round. Then no request can harm another one's object: the kernel
  renames no file over a directory and removes no directory that is not empty, and all else is done to the request's
  own file.
- It ignores arguments that it does not know: setting an object's tags or ACL replaces its content by theirs, deleting
  them, or a bucket's policy, deletes the object, or the bucket. A request to change something is refused unless rclone
  knows its arguments; a request to read tags or the like gets no content instead.
- It ignores the conditions of a write. `If-None-Match: *` is answered here, other conditions are refused.

The errors are MinIO's; SDKs repeat a request after SlowDown. What is not signed passes, so that the answer tells
nothing; `//`, `.` and `..` in keys rclone itself refuses. Which keys the requests in rclone change is known in
JavaScript (njs), which the nginx of the wheel has. Another nginx without it sees neither what happens at the same
moment nor what is in a batch.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orienter_tasks.backends.embedded.version import version_of

if TYPE_CHECKING:
    from pathlib import Path

SOCKET = "s3.sock"
ARGUMENTS = (
    *("partNumber", "uploadId", "uploads", "delete", "versionId", "versioning", "x-id", "x-amz-[a-z0-9-]+"),
    *("AWSAccessKeyId", "Signature", "Expires", "content-[a-z]+", "cache-control"),  # of links, too
)
SUBRESOURCES = (
    *("accelerate", "acl", "analytics", "cors", "encryption", "intelligent-tiering", "inventory", "legal-hold"),
    *("lifecycle", "logging", "metrics", "notification", "object-lock", "ownershipControls", "policy", "policyStatus"),
    *("publicAccessBlock", "replication", "requestPayment", "retention", "tagging", "torrent", "website"),
)
"""Arguments of changes that rclone knows; and what objects and buckets do not have there."""
CONFIGURATION, SCRIPT = "front/nginx.conf", "front/names.js"

CONF = """\
{user}
pid front/nginx.pid;
error_log stderr warn;
worker_processes 1;
events {{
    worker_connections 512;
}}
http {{
    {log}
    client_body_temp_path front/client_body;
    proxy_temp_path front/proxy;
    fastcgi_temp_path front/fastcgi;
    uwsgi_temp_path front/uwsgi;
    scgi_temp_path front/scgi;
    map "$upstream_status $upstream_http_content_type" $s3_type {{
        default $upstream_http_content_type;
        "~^[345].. text/xml" application/xml;
    }}
    map "$request_method$arg_uploadId $uri" $change {{
        "~^(?:PUT|POST)\\S* /+[^/]+/+[^/]" put;
        "~^DELETE /+[^/]+/+[^/]" delete;
        "~^POST /+[^/]+/*$" batch;
    }}
    map "$request_method $args" $unknown {{
        "~^(?:GET|HEAD) (?:.*&)?(?:{subresources})(?:[=&]|$)" yes;
        "~^(?:PUT|POST|DELETE) (?!(?:(?i:{arguments})(?:=[^&]*)?(?:&|$))*$)" yes;
    }}
    map "$request_method $http_if_match|$http_if_none_match" $condition {{
        "~^(?:PUT|POST|DELETE) \\|$" "";
        "~^(?:PUT|POST) \\|\\*$" absent;
        "~^(?:PUT|POST|DELETE) " unknown;
    }}
    map "$http_authorization$args" $signed_change {{
        ~AWS4-HMAC-SHA256 $change;
    }}
    map $uri $parent {{
        "~(?s)^(?<s3_parent>.+)/" data$s3_parent;
    }}
    server {{
        listen {listen};
        client_max_body_size 0;
        client_body_timeout 1h;
        send_timeout 1h;
        large_client_header_buffers 8 32k;
        ignore_invalid_headers off;
        underscores_in_headers on;
        merge_slashes off;
        lingering_time 1h;
        lingering_timeout 1h;
        types {{
        }}
        default_type application/xml;
        root data;
        proxy_http_version 1.1;
        proxy_set_header Host $http_host;
        proxy_buffering off;
        proxy_request_buffering off;
        proxy_read_timeout 1h;
        proxy_send_timeout 1h;
        proxy_ignore_client_abort on;
        proxy_hide_header Content-Type;
        add_header Content-Type $s3_type always;
        proxy_hide_header Access-Control-Allow-Origin;
        add_header Access-Control-Allow-Origin * always;
        add_header Access-Control-Allow-Methods $http_access_control_request_method;
        add_header Access-Control-Allow-Headers $http_access_control_request_headers;
        location / {{
            if ($request_method = OPTIONS) {{
                return 204;
            }}
            set $outcome "$unknown$condition";
            if ($outcome ~ "yes|unknown") {{
                return 501 "<?xml version='1.0' encoding='UTF-8'?><Error><Code>NotImplemented</Code><Message>\
this store has neither this operation nor this condition</Message></Error>";
            }}
            set $conflict "";
            set $present "";
            {enter}
            if (-f $parent) {{
                set $conflict XMinioParentIsObject;
            }}
            if (-d $request_filename) {{
                set $conflict XMinioObjectExistsAsDirectory;
            }}
            if ($uri ~ /$) {{
                set $conflict XMinioInvalidObjectName;
            }}
            set $outcome "$signed_change $conflict";
            if ($outcome ~ "^delete .") {{
                return 204;
            }}
            if ($outcome ~ "^put .") {{
                return 409 "<?xml version='1.0' encoding='UTF-8'?><Error><Code>$conflict</Code><Message>\
an object has no others below its name, and no name ends in /</Message></Error>";
            }}
            if (-f $request_filename) {{
                set $present yes;
            }}
            set $outcome "$signed_change $condition $present";
            if ($outcome = "put absent yes") {{
                return 412 "<?xml version='1.0' encoding='UTF-8'?><Error><Code>PreconditionFailed</Code><Message>\
the object is there already</Message></Error>";
            }}
            proxy_pass http://unix:{socket}:;
        }}
        {batches}
    }}
}}
"""
# the log's condition is what nginx evaluates when a request has ended, whatever became of it
LOG = """\
js_import front/names.js;
    js_shared_dict_zone zone=busy:8m type=number;
    js_var $entered;
    js_set $enter names.enter;
    js_set $leave names.leave;
    access_log /dev/null combined if=$leave;"""
ENTER = """\
error_page 418 = @batch;
            if ($signed_change = batch) {
                return 418;
            }
            if ($signed_change) {
                set $conflict $enter;
            }
            if ($conflict = SlowDown) {
                return 503 "<?xml version='1.0' encoding='UTF-8'?><Error><Code>SlowDown</Code><Message>\
another request changes a name above or below this one</Message></Error>";
            }"""
BATCHES = """\
location @batch {
            client_max_body_size 8m;
            client_body_buffer_size 8m;
            js_content names.batch;
        }
        location @store {
            proxy_pass http://unix:%s:;
        }"""
NAMES = r"""// The keys, with their buckets, that the requests in rclone change. (njs knows no for…of.)
import fs from "fs";

const busy = ngx.shared.busy, ALL = 1e6;
const ENTITIES = {amp: "&", lt: "<", gt: ">", quot: '"', apos: "'"};

// Returns whether a request for these keys may enter now; an exclusive one not beside others for the same key.
function admit(r, names, exclusive) {
    const held = [], others = busy.keys(ALL);
    if (exclusive && names.some((name) => others.includes(name)))
        return false;
    if (names.some((name) => others.some((other) => other.startsWith(name + "/") || name.startsWith(other + "/"))))
        return false;
    try {
        names.forEach((name) => {
            busy.incr(name, 1, 0);
            held.push(name);
        });
        return true;
    } catch (full) {
        return false;
    } finally {
        r.variables.entered = held.join("\0");
    }
}

function enter(r) {
    return admit(r, [r.uri.replace(/^\/+/, "")], r.variables.condition) ? "" : "SlowDown";
}

function leave(r) {
    const held = r.variables.entered;
    if (held)
        held.split("\0").forEach((name) => {
            if (busy.incr(name, -1, 0) <= 0)
                busy.delete(name);
        });
    return "";
}

function unescape(text) {
    return text.replace(/&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g, (all, hex, decimal, word) =>
        word ? ENTITIES[word] || all : String.fromCodePoint(hex ? parseInt(hex, 16) : parseInt(decimal, 10)));
}

function isBelowObject(name) {
    try {
        return fs.statSync("data/" + name.slice(0, name.lastIndexOf("/"))).isFile();
    } catch (error) {
        return false;
    }
}

function refuse(r, status, code, message) {
    r.headersOut["Content-Type"] = "application/xml";
    r.return(status, `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code>` +
        `<Message>${message}</Message></Error>`);
}

function batch(r) {
    const text = (r.requestText || "").replace(/\r\n?/g, "\n"), bucket = r.uri.replace(/\//g, "");
    const keys = text.match(/<Key>[^<]*<\/Key>/g) || [], objects = text.match(/<Object[\s>]/g) || [];
    if (!keys.length || keys.length != objects.length || text.includes("<!"))
        return refuse(r, 400, "MalformedXML", "only a list of keys to delete can be sent to a bucket");
    const names = keys.map((key) => bucket + "/" + unescape(key.slice("<Key>".length, -"</Key>".length)));
    if (!admit(r, names))
        return refuse(r, 503, "SlowDown", "another request changes a name above or below one of these");
    if (names.some(isBelowObject))
        return refuse(r, 409, "XMinioParentIsObject", "nothing was deleted: an object has no others below its name");
    r.internalRedirect("@store");
}

export default {enter, leave, batch};
"""


def files(nginx: Path, listen: str, user: str) -> dict[str, str]:
    """Return the files of the front, by their paths below the working directory."""
    with_script = bool(re.search(r"--add-module=\S*njs", version_of(nginx, "-V")))
    conf = CONF.format(
        user=f"user {user};" if user else "",
        listen=listen,
        socket=SOCKET,
        arguments="|".join(ARGUMENTS),
        subresources="|".join(SUBRESOURCES),
        log=LOG if with_script else "access_log off;",
        enter=ENTER if with_script else "",
        batches=BATCHES % SOCKET if with_script else "",
    )
    return {CONFIGURATION: conf, **({SCRIPT: NAMES} if with_script else {})}
