package main

import (
	"fmt"

	culvertv1 "culvert/proto/culvert/v1"
)

// sessionSequencing says how data messages are numbered, and what the numbers told.
func sessionSequencing(q *culvertv1.Sequencing) string {
	words := "off now"
	switch {
	case q.GetRequired():
		words = "on, the LAC requires it"
	case q.GetNumbered():
		words = "on"
	}
	return words + fmt.Sprintf("; from the LAC %s late, %s lost, %s reordered",
		grouped(q.GetLate()), grouped(q.GetLost()), grouped(q.GetReordered()))
}
