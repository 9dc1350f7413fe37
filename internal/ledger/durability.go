package ledger

// Durability says what must have happened before Append returns.
type Durability int

// The two durabilities.
const (
	// Written means that write(2) has returned: the record survives the death
	// of the process, and power loss may take the last 50 ms.
	Written Durability = iota
	// Durable means that fdatasync has returned and a signed tree head covers
	// the record: it survives power loss.
	Durable
)
