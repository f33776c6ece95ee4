package lac

// CallByID is the call of a tunnel with our id, or nil.
func CallByID(t *Tunnel, id uint16) *Call { return t.call(id) }

// TunnelOf is the tunnel with an id.
func TunnelOf(e *Engine, id uint16) *Tunnel { return e.tunnels[id] }
