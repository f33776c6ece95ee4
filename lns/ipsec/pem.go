package ipsec

import "encoding/pem"

// pemBlocks splits PEM text into its blocks, at most most of them (0 is no bound);
// charon takes one at a time.
func pemBlocks(text string, most int) []string {
	var list []string
	rest := []byte(text)
	for most == 0 || len(list) < most {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		list = append(list, string(pem.EncodeToMemory(block)))
	}
	return list
}
