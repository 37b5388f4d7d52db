"""The embeddable engine: import from here, or from its layers `core`, `protocol` and `host`. See docs/engine.md."""

import gateway.engine.core as core
import gateway.engine.host as host
import gateway.engine.protocol as protocol
import gateway.engine.testing as testing
from gateway.engine.core import *  # noqa: F403 - the layers say in their `__all__` what is public
from gateway.engine.host import *  # noqa: F403
from gateway.engine.protocol import *  # noqa: F403

__all__ = ["core", "host", "protocol", "testing"]
__all__ += core.__all__ + host.__all__ + protocol.__all__
