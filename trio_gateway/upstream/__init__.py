"""The network behind the port: real connections to real providers.

    pool            our own connections to one place, used again; what the port asks for
      connection    one of them: a link (`links`), and the `reader` of what it brings
      request       the bytes of a request
      dial          a new link: to whichever address answers first, by `dns`
    http            httpx's stock transport, for what goes through a proxy; its way to
                    the network is `network`, and through an HTTP proxy `proxy`
    failures        what it means that no connection could be made, for both
    transport       the pool as httpx's transport, for programs that build upon this

Nothing here knows what is asked, or what an answer means.
"""
