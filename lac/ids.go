package lac

// quarantine is how many released ids are kept back, so that an id is not used again while
// messages of its last use may be on their way.
const quarantine = 16

// idPool hands out ids from 1 upwards, densely, and those released longest ago first.
type idPool struct {
	last uint16   // the largest ever handed out
	free []uint16 // released, oldest first, from head on
	head int
}

// take returns a free id, 0 when there is none.
func (p *idPool) take() uint16 {
	waiting := len(p.free) - p.head
	if p.last < 65535 && waiting <= quarantine {
		p.last++
		return p.last
	}
	if waiting == 0 {
		return 0
	}
	id := p.free[p.head]
	p.head++
	if p.head > 64 && p.head*2 > len(p.free) {
		p.free = p.free[:copy(p.free, p.free[p.head:])]
		p.head = 0
	}
	return id
}

func (p *idPool) release(id uint16) { p.free = append(p.free, id) }

// put sets table[id], which it makes longer as needed.
func put[T any](table []*T, id uint16, v *T) []*T {
	for int(id) >= len(table) {
		table = append(table, nil)
	}
	table[id] = v
	return table
}
