package ops

import "culvert/lns"

var (
	descReceived     = metric("plane_received_datagrams_total", "Datagrams that the L2TP sockets received.")
	descSent         = metric("plane_sent_datagrams_total", "Datagrams that the L2TP sockets sent.")
	descPlaneDropped = metric("plane_dropped_packets_total", "Packets that the data plane dropped, by reason.", "reason")

	descWriterUp      = metric("database_up", "1 when the last attempt to reach the database worked.")
	descWriterResync  = metric("database_resyncing", "1 while the database is being compared with the node.")
	descWriterPending = metric("database_pending_changes", "Changes that are not in the database yet.")
	descWriterBytes   = metric("database_pending_bytes", "Memory of the changes that are not in the database yet.")
	descWriterBehind  = metric("database_behind_seconds", "Age of the oldest change that is not in the database yet.")
	descWriterChanges = metric("database_changes_total", "Changes by what became of them: flushed to the database, refused as in conflict, dropped on overflow.", "result")
	descWriterFails   = metric("database_failures_total", "Failed attempts to write to the database; they are made again.")
	descWriterResyncs = metric("database_resyncs_total", "Finished comparisons of the database with the node.")

	descPoolSize     = metric("pool_addresses", "Addresses that a pool has.", "pool")
	descPoolUsed     = metric("pool_used_addresses", "Addresses of a pool that are in use.", "pool")
	descPoolAcquired = metric("pool_acquisitions_total", "Addresses that a pool gave.", "pool")
	descPoolRefused  = metric("pool_refusals_total", "Sessions that a pool refused an address: full, or the wanted one in conflict.", "pool", "reason")

	descRADIUSUp       = metric("radius_server_up", "0 while a RADIUS server is taken for dead.", "server", "use")
	descRADIUSInFlight = metric("radius_requests_in_flight", "RADIUS requests that wait for an answer.", "server", "use")
	descRADIUSQueued   = metric("radius_requests_queued", "RADIUS requests that wait to be sent.", "server", "use")
	descRADIUSRequests = metric("radius_requests_total", "RADIUS requests by what became of them.", "server", "use", "result")
	descRADIUSRetries  = metric("radius_retransmissions_total", "RADIUS requests that were sent again.", "server", "use")
	descRADIUSDeaths   = metric("radius_server_deaths_total", "How often a RADIUS server was taken for dead.", "server", "use")
	descRADIUSBad      = metric("radius_dropped_replies_total", "RADIUS replies that were dropped, by reason.", "server", "use", "reason")
	descRADIUSLatency  = metric("radius_reply_seconds", "Time from a RADIUS request's first transmission to its answer.", "server", "use")

	descDynAuth        = metric("dynauth_answers_total", "Answers to Disconnect-Requests and the like (RFC 5176).", "result")
	descDynAuthEnded   = metric("dynauth_disconnected_sessions_total", "Sessions that a RADIUS server had ended.")
	descDynAuthDropped = metric("dynauth_dropped_requests_total", "Disconnect-Requests and the like that were dropped in silence, by reason.", "reason")

	descIPsecUp       = metric("ipsec_charon_up", "1 while the key exchange daemon is there; absent where no LAC profile uses IPsec.")
	descIPsecSAs      = metric("ipsec_sas", "Peers that have an SA, by LAC profile.", "lac")
	descIPsecNew      = metric("ipsec_sas_established_total", "Peers that have set up an SA.")
	descIPsecGone     = metric("ipsec_sas_gone_total", "Peers whose SA is gone for good, by cause: dpd is a dead-peer detection that timed out.", "cause")
	descIPsecRekeyed  = metric("ipsec_rekeyings_total", "Times that an SA got new keys.")
	descIPsecEarly    = metric("ipsec_early_packets_total", "ESP packets that came before charon had installed their SA's keys, and were given to the kernel again (IKEv1).")
	descIPsecIKE      = metric("ipsec_ike_sas_total", "IKE SAs by what they did: established or ended.", "event")
	descIPsecFailures = metric("ipsec_ike_failures_total", "Attempts of LACs to set up an SA that failed, by reason.", "reason")

	descClusterLease     = metric("cluster_lease_seconds", "What is left of the node's lease in the cluster; 0 while the database cannot be reached.")
	descClusterStopped   = metric("cluster_stopped", "1 while the node answers for no address, as it has neither a lease nor all others' promises.")
	descClusterMembers   = metric("cluster_members", "Nodes that may take over addresses.")
	descClusterAddresses = metric("cluster_addresses", "Service addresses: known to the cluster, owned by this node, and those it answers for.", "state")

	descOutboxPending = metric("accounting_pending_records", "Accounting records that no server has acknowledged yet.")
	descOutboxAway    = metric("accounting_away", "1 while no accounting server answers.")
	descOutboxRecords = metric("accounting_records_total", "Accounting records by what became of them: acknowledged, coalesced into a later one, corrupt in the journal.", "result")
	descOutboxRetries = metric("accounting_retries_total", "Accounting records that were sent again after no server had answered.")
	descOutboxErrors  = metric("accounting_journal_errors_total", "Failures to read accounting records from the journal or to drop them from it.")
)

// collectSources sends the metrics of what is there.
func collectSources(out sink, src *Sources) {
	collectPlane(out, src)
	collectWriter(out, src)
	collectPools(out, src)
	collectRADIUS(out, src)
	collectDynAuth(out, src)
	collectOutbox(out, src)
	collectIPsec(out, src)
	collectCluster(out, src)
}

func collectCluster(out sink, src *Sources) {
	if src.Cluster == nil {
		return
	}
	s := src.Cluster()
	out.gauge(descClusterLease, s.Lease.Seconds())
	out.gauge(descClusterStopped, boolean(s.Stopped))
	out.gauge(descClusterMembers, float64(s.Members))
	out.gauge(descClusterAddresses, float64(s.Addresses), "known")
	out.gauge(descClusterAddresses, float64(s.Owned), "owned")
	out.gauge(descClusterAddresses, float64(s.Serving), "serving")
}

func collectIPsec(out sink, src *Sources) {
	if src.IPsec == nil {
		return
	}
	s := src.IPsec()
	if s.Wanted {
		out.gauge(descIPsecUp, boolean(s.Connected))
	}
	for lac, n := range s.SAs {
		out.gauge(descIPsecSAs, float64(n), lac)
	}
	out.counter(descIPsecNew, s.Up)
	out.counter(descIPsecRekeyed, s.Rekeyed)
	out.counter(descIPsecEarly, s.Early)
	out.counter(descIPsecIKE, s.IKEUp, "established")
	out.counter(descIPsecIKE, s.IKEDown, "ended")
	// Every value of a label is there from the beginning, so that a rate sees the first one.
	for _, cause := range lns.SACauses {
		out.counter(descIPsecGone, s.Gone[cause], string(cause))
	}
	for _, reason := range lns.IKEReasons {
		out.counter(descIPsecFailures, s.Failures[reason], string(reason))
	}
}

func collectPlane(out sink, src *Sources) {
	if src.Plane == nil {
		return
	}
	s := src.Plane()
	out.counter(descReceived, s.Received)
	out.counter(descSent, s.Sent)
	out.counter(descPlaneDropped, s.Overrun, "overrun")
	out.counter(descPlaneDropped, s.SendDropped, "send")
	out.counter(descPlaneDropped, s.Malformed, "malformed")
	out.counter(descPlaneDropped, s.Invalid, "invalid-ip")
	out.counter(descPlaneDropped, s.CoreDropped, "core")
	out.counter(descPlaneDropped, s.NoSession, "no-session")
	out.counter(descPlaneDropped, s.Fenced, "fenced")
	out.counter(descPlaneDropped, s.TooBig, "too-big")
	out.counter(descPlaneDropped, s.Withheld, "no-sa")
}

func collectWriter(out sink, src *Sources) {
	if src.Writer == nil {
		return
	}
	s := src.Writer()
	out.gauge(descWriterUp, boolean(s.Connected))
	out.gauge(descWriterResync, boolean(s.Resyncing))
	out.gauge(descWriterPending, float64(s.Pending))
	out.gauge(descWriterBytes, float64(s.PendingBytes))
	out.gauge(descWriterBehind, s.Lag.Seconds())
	out.counter(descWriterChanges, s.Flushed, "flushed")
	out.counter(descWriterChanges, s.Conflicts, "conflict")
	out.counter(descWriterChanges, s.Dropped, "dropped")
	out.counter(descWriterFails, s.Failures)
	out.counter(descWriterResyncs, s.Resyncs)
}

func collectPools(out sink, src *Sources) {
	if src.Pools == nil {
		return
	}
	for _, p := range src.Pools() {
		out.gauge(descPoolSize, float64(p.Size), p.Name)
		out.gauge(descPoolUsed, float64(p.Used), p.Name)
		out.counter(descPoolAcquired, p.Acquired, p.Name)
		out.counter(descPoolRefused, p.Full, p.Name, "full")
		out.counter(descPoolRefused, p.Conflicts, p.Name, "conflict")
	}
}

func collectRADIUS(out sink, src *Sources) {
	if src.RADIUS == nil {
		return
	}
	for _, s := range src.RADIUS() {
		out.gauge(descRADIUSUp, boolean(s.Alive), s.Server, s.Use)
		out.gauge(descRADIUSInFlight, float64(s.InFlight), s.Server, s.Use)
		out.gauge(descRADIUSQueued, float64(s.Queued), s.Server, s.Use)
		out.counter(descRADIUSRetries, s.Retransmits, s.Server, s.Use)
		out.counter(descRADIUSDeaths, s.Deaths, s.Server, s.Use)
		collectRADIUSResults(out, &s)
		out.histogram(descRADIUSLatency, s.LatencyBounds, s.Latency, s.LatencySum, s.Server, s.Use)
	}
}

// collectRADIUSResults sends only results that the server's use can have.
func collectRADIUSResults(out sink, s *RADIUSServerStats) {
	result := func(n uint64, name string) { out.counter(descRADIUSRequests, n, s.Server, s.Use, name) }
	if s.Use == "acct" {
		result(s.Responses, "acknowledged")
	} else {
		result(s.Accepts, "accepted")
		result(s.Rejects, "rejected")
		result(s.Challenges, "challenged")
	}
	result(s.Timeouts, "timeout")
	result(s.Overflows, "overflow")
	result(s.Expired, "expired")
	dropped := func(n uint64, name string) { out.counter(descRADIUSBad, n, s.Server, s.Use, name) }
	dropped(s.BadAuthenticators, "bad-authenticator")
	dropped(s.Unsigned, "unsigned")
	dropped(s.Late, "late")
	dropped(s.Malformed, "malformed")
}

func collectDynAuth(out sink, src *Sources) {
	if src.DynAuth == nil {
		return
	}
	s := src.DynAuth()
	out.counter(descDynAuth, s.ACKs, "ack")
	out.counter(descDynAuth, s.NAKs, "nak")
	out.counter(descDynAuth, s.Duplicates, "duplicate")
	out.counter(descDynAuthEnded, s.Disconnected)
	out.counter(descDynAuthDropped, s.UnknownClients, "unknown-client")
	out.counter(descDynAuthDropped, s.BadAuthenticators, "bad-authenticator")
	out.counter(descDynAuthDropped, s.Malformed, "malformed")
	out.counter(descDynAuthDropped, s.Stale, "stale")
}

func collectOutbox(out sink, src *Sources) {
	if src.Outbox == nil {
		return
	}
	s := src.Outbox()
	out.gauge(descOutboxPending, float64(s.Pending))
	out.gauge(descOutboxAway, boolean(s.Away))
	out.counter(descOutboxRecords, s.Acknowledged, "acknowledged")
	out.counter(descOutboxRecords, s.Coalesced, "coalesced")
	out.counter(descOutboxRecords, s.Corrupt, "corrupt")
	out.counter(descOutboxRetries, s.Retried)
	out.counter(descOutboxErrors, s.JournalErrors)
}
