package l2tp

import "encoding/binary"

// set stores the value of an AVP, whose length the caller has checked against
// its spec.
func (m *Message) set(a AVP, v []byte) {
	m.present |= 1 << a
	if field := m.bytesField(a); field != nil {
		*field = v
		return
	}
	switch len(v) {
	case 2:
		if field := m.uint16Field(a); field != nil {
			*field = binary.BigEndian.Uint16(v)
			return
		}
	case 4:
		if field := m.uint32Field(a); field != nil {
			*field = binary.BigEndian.Uint32(v)
			return
		}
	}
	m.setOther(a, v)
}

// setOther stores the AVPs that have a shape of their own.
func (m *Message) setOther(a AVP, v []byte) {
	switch a {
	case AVPResultCode:
		m.Result = parseResult(v)
	case AVPTieBreaker:
		m.TieBreaker = binary.BigEndian.Uint64(v)
	case AVPQ931Cause:
		m.Q931 = Q931Cause{Cause: binary.BigEndian.Uint16(v), Msg: v[2], Advisory: v[3:]}
	case AVPTxSpeed:
		if !m.Has(AVPTxSpeed64) {
			m.TxSpeed = uint64(binary.BigEndian.Uint32(v))
		}
	case AVPRxSpeed:
		if !m.Has(AVPRxSpeed64) {
			m.RxSpeed = uint64(binary.BigEndian.Uint32(v))
		}
	case AVPTxSpeed64:
		m.TxSpeed = binary.BigEndian.Uint64(v)
	case AVPRxSpeed64:
		m.RxSpeed = binary.BigEndian.Uint64(v)
	case AVPCallErrors:
		m.Errors = parseCallErrors(v[2:])
	case AVPACCM:
		m.ACCM = ACCM{Send: binary.BigEndian.Uint32(v[2:]), Receive: binary.BigEndian.Uint32(v[6:])}
	case AVPSequencingRequired:
		m.SequencingRequired = true
	case AVPSpeedUpdateEnable:
		m.SpeedUpdateEnable = true
	case AVPPPPDisconnect:
		m.PPPDisconnect = PPPDisconnect{
			Code: binary.BigEndian.Uint16(v), Protocol: binary.BigEndian.Uint16(v[2:]),
			Direction: v[4], Message: v[5:],
		}
	case AVPFailoverCapability:
		m.Failover = parseFailover(v)
	case AVPTunnelRecovery:
		m.Recovery.Tunnel, m.Recovery.Remote = parsePair(v)
	case AVPSuggestedSequence:
		m.SuggestedSequence = SuggestedSequence{Ns: binary.BigEndian.Uint16(v[2:]), Nr: binary.BigEndian.Uint16(v[4:])}
	case AVPSessionState:
		var s SessionState
		s.Session, s.Remote = parsePair(v)
		m.SessionStates = append(m.SessionStates, s)
	case AVPSpeedUpdate:
		m.SpeedUpdates = append(m.SpeedUpdates, SpeedUpdate{
			SessionID: binary.BigEndian.Uint16(v[2:]),
			Tx:        binary.BigEndian.Uint32(v[4:]), Rx: binary.BigEndian.Uint32(v[8:]),
		})
	}
}

// parseResult decodes the Result Code AVP, whose error code and message may be
// missing.
func parseResult(v []byte) Result {
	r := Result{Code: ResultCode(binary.BigEndian.Uint16(v))}
	if len(v) >= 4 {
		r.Error = ErrorCode(binary.BigEndian.Uint16(v[2:]))
		r.Message = string(v[4:])
	}
	return r
}

func parseCallErrors(v []byte) CallErrors {
	var n [6]uint32
	for i := range n {
		n[i] = binary.BigEndian.Uint32(v[4*i:])
	}
	return CallErrors{n[0], n[1], n[2], n[3], n[4], n[5]}
}

// bytesField returns the field of an AVP that is a string of octets, or nil.
func (m *Message) bytesField(a AVP) *[]byte {
	switch a {
	case AVPHostName:
		return &m.HostName
	case AVPVendorName:
		return &m.VendorName
	case AVPChallenge:
		return &m.Challenge
	case AVPChallengeResponse:
		return &m.ChallengeResponse
	case AVPCalledNumber:
		return &m.CalledNumber
	case AVPCallingNumber:
		return &m.CallingNumber
	case AVPSubAddress:
		return &m.SubAddress
	case AVPInitialLCP:
		return &m.InitialLCP
	case AVPLastSentLCP:
		return &m.LastSentLCP
	case AVPLastReceivedLCP:
		return &m.LastReceivedLCP
	case AVPProxyAuthName:
		return &m.ProxyAuthName
	case AVPProxyAuthChallenge:
		return &m.ProxyAuthChallenge
	case AVPProxyAuthResponse:
		return &m.ProxyAuthResponse
	case AVPRandomVector:
		return &m.RandomVector
	case AVPPrivateGroup:
		return &m.PrivateGroup
	}
	return nil
}

// uint16Field returns the field of an AVP that is a 16-bit number, or nil.
func (m *Message) uint16Field(a AVP) *uint16 {
	switch a {
	case AVPProtocolVersion:
		return &m.ProtocolVersion
	case AVPFirmwareRevision:
		return &m.FirmwareRevision
	case AVPAssignedTunnelID:
		return &m.AssignedTunnelID
	case AVPReceiveWindow:
		return &m.ReceiveWindow
	case AVPAssignedSessionID:
		return &m.AssignedSessionID
	case AVPProxyAuthType:
		return &m.ProxyAuthType
	case AVPProxyAuthID:
		return &m.ProxyAuthID
	}
	return nil
}

// uint32Field returns the field of an AVP that is a 32-bit number, or nil.
func (m *Message) uint32Field(a AVP) *uint32 {
	switch a {
	case AVPFramingCap:
		return &m.FramingCap
	case AVPBearerCap:
		return &m.BearerCap
	case AVPCallSerial:
		return &m.CallSerial
	case AVPMinimumBPS:
		return &m.MinimumBPS
	case AVPMaximumBPS:
		return &m.MaximumBPS
	case AVPBearerType:
		return &m.BearerType
	case AVPFramingType:
		return &m.FramingType
	case AVPPhysicalChannel:
		return &m.PhysicalChannel
	}
	return nil
}
