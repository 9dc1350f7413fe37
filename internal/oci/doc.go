// Package oci is a registry for clients of the OCI distribution specification 1.1: tools that
// push and pull images push and pull models of the installation, packed as CNCF's ModelPack
// has it. A repository is a model, a pushed manifest becomes a version of it, and a tag is an
// alias.
//
// # What is taken
//
// Manifests of models with the media types of ModelPack, and what refers to a model that is
// there: signatures, bills of materials, attestations. An image of a container, or any other
// artefact, is refused: nothing here would ever look at what is in it. The files of a model are
// unpacked within bounds and kept one by one, so that who looks into files, and who holds them
// to a signature, sees them and not the archives around them.
//
// # What is given out
//
// A version that is published is pulled under model.pull. One that is not takes model.inspect,
// which those have who judge models. From quarantine nobody pulls. A version that came by
// another road is pulled like any other: its manifest is made from its files when somebody
// first asks, and stays the same from then on.
//
// # Tags
//
// A tag that is new is a name of the version that is pushed with it, for ever. One that means
// something is an alias to be moved: the push is answered with the change that asks for it, and
// the tag stays where it is until others approved that. No tag is "latest", which would say
// nothing about who decided it, or looks like a digest or the number of a version: vN is
// version N, for reading.
//
// The package owns which repository has which manifests and blobs, and uploads under way:
// tables whose names begin with oci_. The bytes lie in a depot, and versions and aliases are
// others' ([Versions], [Aliases]).
package oci
