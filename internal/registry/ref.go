package registry

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pavise/pavise"
)

// Kind is the kind of thing that a model is, in names.
const Kind = "model"

// at is between a model's id and a version's number, in the name of a version. No model that
// is registered has it in its id.
const at = '@'

// A Ref names a version of a model within a tenant: by the model's id, and its number, which
// is from 1.
type Ref struct {
	Model   string
	Version int
}

// maxNumber bounds the number of a version.
const maxNumber = 1_000_000

// ParseRef reads NAME/N. The error is of kind Invalid.
func ParseRef(text string) (r Ref, err error) {
	model, number, is := strings.Cut(text, "/")
	r.Model = model
	if r.Version, err = strconv.Atoi(number); err == nil && strconv.Itoa(r.Version) == number && is && r.valid() {
		return r, nil
	}
	return Ref{}, &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%.150q is no version of a model", text), Hint: "write it as NAME/N, for example fraud/3"}
}

// valid reports whether there can be a version of this name.
func (r Ref) valid() bool {
	return r.Version > 0 && r.Version <= maxNumber && validModel(pavise.Name{Tenant: "t", Kind: Kind, ID: r.Model}) == nil
}

// String returns NAME/N.
func (r Ref) String() string { return r.Model + "/" + strconv.Itoa(r.Version) }

// MarshalText writes the reference as String does; the zero Ref is empty.
func (r Ref) MarshalText() ([]byte, error) {
	if r == (Ref{}) {
		return nil, nil
	}
	return []byte(r.String()), nil
}

// UnmarshalText reads what MarshalText wrote.
func (r *Ref) UnmarshalText(text []byte) (err error) {
	if *r = (Ref{}); len(text) > 0 {
		*r, err = ParseRef(string(text))
	}
	return err
}

// Of is the model's full name.
func (r Ref) Of(tenant string) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: Kind, ID: r.Model}
}

// Name is what policies and the log call the version: tenant/model/NAME@N.
func (r Ref) Name(tenant string) pavise.Name {
	return pavise.Name{Tenant: tenant, Kind: Kind, ID: r.Model + string(at) + strconv.Itoa(r.Version)}
}

// on is the version's name, or the model's where the number is 0.
func (r Ref) on(tenant string) pavise.Name {
	if r.Version == 0 {
		return r.Of(tenant)
	}
	return r.Name(tenant)
}

// RefOf reads the version that a name is of, if it is of one.
func RefOf(name pavise.Name) (Ref, bool) {
	i := strings.LastIndexByte(name.ID, at)
	if name.Kind != Kind || i < 0 {
		return Ref{}, false
	}
	n, err := strconv.Atoi(name.ID[i+1:])
	r := Ref{name.ID[:i], n}
	return r, err == nil && r.Name(name.Tenant) == name && r.valid()
}

// maxModelID leaves room in a name for the number of a version.
const maxModelID = 100

// validModel refuses what no model that is registered can be called.
func validModel(name pavise.Name) error {
	if err := name.Validate(); err != nil {
		return err
	}
	if name.Kind != Kind || strings.ContainsRune(name.ID, at) || len(name.ID) > maxModelID {
		return &pavise.Error{Kind: pavise.Invalid, Msg: fmt.Sprintf("%s is no name of a model that can be registered", name), Hint: fmt.Sprintf("write tenant/model/id; the id has %d letters at most, and no @", maxModelID)}
	}
	return nil
}
