package main

// notify tells systemd the daemon's state ("READY=1", "STOPPING=1"), where it
// runs under systemd (sd_notify(3)).
func notify(state string) {
	c, err := notifySocket()
	if c == nil || err != nil {
		return // a service manager that does not listen is not ours to mend
	}
	defer c.Close()
	_, _ = c.Write([]byte(state))
}
