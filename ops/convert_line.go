package ops

import (
	"culvert/aaa"
	culvertv1 "culvert/proto/culvert/v1"
	"culvert/proto/l2tp"
)

// lineProto is nil where the LAC tells nothing of the line.
func lineProto(l *aaa.Line) *culvertv1.AccessLine {
	if l == nil {
		return nil
	}
	p := &culvertv1.AccessLine{CircuitId: text(l.CircuitID), RemoteId: text(l.RemoteID), Interworking: l.Interworking}
	if l.Encapsulation != nil {
		p.Encapsulation = l.Encapsulation[:]
	}
	for _, v := range l.Values {
		p.Values = append(p.Values, &culvertv1.AccessLineValue{Name: v.Type.String(), Value: v.Value})
	}
	return p
}

// errorsProto is nil where the LAC told of no errors.
func errorsProto(e *l2tp.CallErrors) *culvertv1.CallErrors {
	if e == nil {
		return nil
	}
	return &culvertv1.CallErrors{
		Crc: e.CRC, Framing: e.Framing, HardwareOverruns: e.HardwareOverruns,
		BufferOverruns: e.BufferOverruns, Timeouts: e.Timeouts, Alignment: e.Alignment,
	}
}
