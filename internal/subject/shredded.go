package subject

import "github.com/pavise/pavise/internal/record"

// KindShredded is the kind of the note that is the receipt of a shredding whose process
// died before it could record it.
const KindShredded = "subject.shredded"

// Shredded reports which subject a record says was shredded, if it does: the record of
// the act, or the note in its place.
func Shredded(r *record.Record) (tenant, id string, ok bool) {
	act := r.Kind == "subject.shred" && r.Phase == record.Exit && r.Error == nil
	if !act && (r.Kind != KindShredded || r.Phase != record.Note) {
		return "", "", false
	}
	return r.On.Tenant, r.On.ID, true
}
