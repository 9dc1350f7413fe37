// Package fleet is what makes machines one fleet: how a machine or a person is a
// member ([Membership], [Identity]), what a control plane tells its gateways and how
// they read it ([Orders]), what machines say of themselves ([Report], [Nodes]), and who
// is a witness of whose log ([Watchers]).
//
// It owns what a member keeps of its membership (the key, the certificate, the roots)
// and the table of how machines stood when they last said so. The certificates are
// given out by package issuer, bundles are signed and carried by package bundle, and
// the processes are package role.
package fleet
