package kube

// An Object is one of the API, or a part of one, as JSON: numbers are int64, or float64.
type Object map[string]any

// At returns what lies at a path; nil: nothing does, or it is no object.
func (o Object) At(path ...string) Object {
	for _, key := range path {
		o = object(o[key])
	}
	return o
}

// object is a value as an object; nil if it is none.
func object(v any) Object {
	switch v := v.(type) {
	case map[string]any:
		return v
	case Object:
		return v
	}
	return nil
}

func (o Object) value(path []string) any {
	last := len(path) - 1
	return o.At(path[:last]...)[path[last]]
}

// Text returns the text at a path; empty: there is none.
func (o Object) Text(path ...string) string {
	s, _ := o.value(path).(string)
	return s
}

// Int returns the number at a path; 0: there is none.
func (o Object) Int(path ...string) int64 {
	switch n := o.value(path).(type) {
	case int64:
		return n
	case float64:
		return int64(n)
	}
	return 0
}

// Has reports whether there is anything at a path.
func (o Object) Has(path ...string) bool { return o.value(path) != nil }

// True reports whether true is at a path.
func (o Object) True(path ...string) bool { return o.value(path) == true }

// List returns the objects of the list at a path.
func (o Object) List(path ...string) (list []Object) {
	all, _ := o.value(path).([]any)
	for _, v := range all {
		if one := object(v); one != nil {
			list = append(list, one)
		}
	}
	return list
}

// Find returns the object of a list that has a text at a key; nil: none has.
func Find(list []Object, key, text string) Object {
	for _, o := range list {
		if o.Text(key) == text {
			return o
		}
	}
	return nil
}

// Covers reports whether an object has all that another one says of it. Lists must have the
// same objects, but for those whose key is in merged: there the ones with the same name are
// compared, and others may be beside them.
func (o Object) Covers(want Object, merged ...string) bool {
	for key, v := range want {
		if !covers(key, o[key], v, merged) {
			return false
		}
	}
	return true
}

func covers(key string, have, want any, merged []string) bool {
	if w := object(want); w != nil {
		return object(have).Covers(w, merged...)
	}
	list, ok := want.([]any)
	if !ok {
		return have == want
	}
	there, _ := have.([]any)
	for _, m := range merged {
		if m != key {
			continue
		}
		for _, v := range list {
			one := Find(Object{key: there}.List(key), "name", object(v).Text("name"))
			if one == nil || !covers("", map[string]any(one), v, merged) {
				return false
			}
		}
		return true
	}
	if len(there) != len(list) {
		return false
	}
	for i := range list {
		if !covers("", there[i], list[i], merged) {
			return false
		}
	}
	return true
}
