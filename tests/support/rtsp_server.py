"""An RTSP camera on the loopback, for Debian's Python with gir1.2-gst-rtsp-server-1.0; prints its port, then serves.

python3 rtsp_server.py PORT [USER PASSWORD | FILM]

A moving ball, 320x240 at 25 Hz as RTP/JPEG, under /cam, or the H.264 of an MP4 file at its own speed; port 0 for a free
one. With a user only this one is let in.
"""

import sys

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

CAMERA = (
    "( videotestsrc is-live=true pattern=ball background-color=0xff406080 ! "
    "video/x-raw,format=I420,width=320,height=240,framerate=25/1 ! jpegenc ! rtpjpegpay name=pay0 )"
)
FILM = "( filesrc location=%s ! qtdemux ! rtph264pay name=pay0 )"


def main() -> None:
    """Serve until killed."""
    Gst.init(None)
    server = GstRtspServer.RTSPServer()
    server.set_address("127.0.0.1")
    server.set_service(sys.argv[1])
    factory = GstRtspServer.RTSPMediaFactory()
    film = sys.argv[2] if len(sys.argv) == 3 else None
    factory.set_launch(FILM % film if film else CAMERA)
    factory.set_shared(True)
    if len(sys.argv) > 3:
        auth = GstRtspServer.RTSPAuth()
        token = GstRtspServer.RTSPToken()
        token.set_string("media.factory.role", "viewer")
        auth.add_basic(GstRtspServer.RTSPAuth.make_basic(sys.argv[2], sys.argv[3]), token)
        server.set_auth(auth)
        permissions = GstRtspServer.RTSPPermissions()
        permissions.add_permission_for_role("viewer", "media.factory.access", True)
        permissions.add_permission_for_role("viewer", "media.factory.construct", True)
        factory.set_permissions(permissions)
    server.get_mount_points().add_factory("/cam", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
