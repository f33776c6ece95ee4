// Package systemd runs lnsd as a real systemd runs it: the unit file that is shipped, systemd as process 1 of a User-Mode
// Linux guest, a TUN device, lacsim's subscribers, and xl2tpd with pppd. It restarts, kills and upgrades lnsd by
// systemctl and looks whether sessions, sockets and packets stay. `ops/lab/bench/systemd.sh` runs it.
package systemd
