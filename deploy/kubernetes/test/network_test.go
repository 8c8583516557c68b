package kubernetes

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
)

func TestServicesSelectExistingPorts(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, s := range of[*corev1.Service](m) {
			got := selected(t, m, asSelector(s.Spec.Selector))
			if len(got) != 1 || s.Spec.Type != "" && s.Spec.Type != corev1.ServiceTypeClusterIP {
				t.Fatalf("Service %s of type %q selects the pods of %v", s.Name, s.Spec.Type, components(got))
			}
			for _, p := range s.Spec.Ports {
				if _, ok := ports(got[0])[p.TargetPort.String()]; !ok {
					t.Errorf("Service %s has port %s, which %s does not have", s.Name, p.TargetPort.String(), got[0])
				}
				// The private port of ingest has no login: only the headless Service, for
				// Prometheus, has it.
				if got[0].component() == "ingest" && p.TargetPort.String() != "webhooks" && s.Spec.ClusterIP != corev1.ClusterIPNone {
					t.Errorf("Service %s exposes ingest's port %s", s.Name, p.TargetPort.String())
				}
			}
		}
	})
}

func TestIngressExposesOnlyWebhooks(t *testing.T) {
	m := build(t, "../overlays/keda")
	for _, rule := range named[*networkingv1.Ingress](t, m, "klinghook").Spec.Rules {
		for _, p := range rule.HTTP.Paths {
			service := named[*corev1.Service](t, m, p.Backend.Service.Name)
			leads := slices.ContainsFunc(service.Spec.Ports, func(port corev1.ServicePort) bool {
				return port.Name == p.Backend.Service.Port.Name && port.TargetPort.String() == "webhooks"
			})
			if p.Path != "/webhooks/" || !leads {
				t.Errorf("%s leads to %s", p.Path, text(p.Backend.Service))
			}
		}
	}
}

// reach returns where the pods of a component may connect: "dns", "redis",
// "postgresql", "internet".
func reach(t *testing.T, m manifests, component string) []string {
	t.Helper()
	var list []string
	for _, p := range policiesFor(t, m, component) {
		for _, rule := range p.Spec.Egress {
			if len(rule.Ports) == 0 || len(rule.To) == 0 {
				t.Errorf("policy %s allows %s every destination or port", p.Name, component)
			}
			for _, to := range rule.To {
				list = append(list, destination(t, p.Name, to))
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// destination names a rule's peer.
func destination(t *testing.T, policy string, to networkingv1.NetworkPolicyPeer) string {
	t.Helper()
	switch {
	case to.IPBlock != nil:
		return "internet"
	case to.NamespaceSelector == nil && to.PodSelector != nil:
		return to.PodSelector.MatchLabels["app.kubernetes.io/name"]
	case to.NamespaceSelector != nil && to.PodSelector != nil && to.PodSelector.MatchLabels["k8s-app"] == "kube-dns":
		return "dns"
	}
	t.Errorf("policy %s allows %s", policy, text(to))
	return "?"
}

// policiesFor returns the policies for a component, except the default.
func policiesFor(t *testing.T, m manifests, component string) []*networkingv1.NetworkPolicy {
	t.Helper()
	var list []*networkingv1.NetworkPolicy
	for _, p := range of[*networkingv1.NetworkPolicy](m) {
		if slices.Contains(components(selected(t, m, &p.Spec.PodSelector)), component) {
			list = append(list, p)
		}
	}
	return list
}

func TestPodsReachOnlyWhatTheyNeed(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, p := range of[*networkingv1.NetworkPolicy](m) {
			if len(selected(t, m, &p.Spec.PodSelector)) == 0 {
				t.Errorf("policy %s selects no pods", p.Name)
			}
		}
		all := named[*networkingv1.NetworkPolicy](t, m, "default-deny").Spec
		if len(all.PodSelector.MatchLabels)+len(all.PodSelector.MatchExpressions)+len(all.Ingress)+len(all.Egress) > 0 || len(all.PolicyTypes) != 2 {
			t.Errorf("default-deny is %s", text(all))
		}
		for component, want := range map[string]string{
			"ingest":  "dns redis",
			"worker":  "dns internet postgresql redis",
			"admin":   "dns redis",
			"migrate": "dns postgresql",
		} {
			if got := strings.Join(reach(t, m, component), " "); got != want {
				t.Errorf("%s reaches %s, want %s", component, got, want)
			}
		}
	})
}

func TestOnlyWebhooksAreOpenToEverybody(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, component := range []string{"ingest", "worker", "admin", "migrate"} {
			open := ports(workloadOf(t, m, component))
			for _, p := range policiesFor(t, m, component) {
				for _, rule := range p.Spec.Ingress {
					for _, port := range rule.Ports {
						if _, ok := open[port.Port.String()]; !ok {
							t.Errorf("policy %s opens port %s, which %s does not have", p.Name, port.Port, component)
						}
						if len(rule.From) == 0 && component+" "+port.Port.String() != "ingest webhooks" {
							t.Errorf("policy %s opens port %s of %s to everybody", p.Name, port.Port, component)
						}
					}
					if len(rule.Ports) == 0 {
						t.Errorf("policy %s opens all ports of %s", p.Name, component)
					}
				}
			}
		}
	})
}

// TestWorkersReachNoPrivateAddress tries addresses against the blocks of the policy.
func TestWorkersReachNoPrivateAddress(t *testing.T) {
	p := named[*networkingv1.NetworkPolicy](t, build(t, "../base"), "internet")
	allowed := func(ip netip.Addr) bool {
		for _, to := range p.Spec.Egress[0].To {
			except := slices.ContainsFunc(to.IPBlock.Except, func(cidr string) bool { return netip.MustParsePrefix(cidr).Contains(ip) })
			if netip.MustParsePrefix(to.IPBlock.CIDR).Contains(ip) && !except {
				return true
			}
		}
		return false
	}
	for _, public := range []string{"1.1.1.1", "8.8.8.8", "100.63.255.255", "172.32.0.1", "192.167.1.1", "198.20.0.1", "2606:4700::1111"} {
		if !allowed(netip.MustParseAddr(public)) {
			t.Errorf("%s cannot be reached", public)
		}
	}
	for _, private := range []string{
		"0.0.0.1", "10.1.2.3", "100.64.0.1", "127.0.0.1", "168.63.129.16", "169.254.169.254", "172.16.0.1", "172.31.255.255", "192.168.1.1", "198.18.0.1", "224.0.0.1",
		"255.255.255.255", "::1", "::10.0.0.1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2001::1", "2002:a00:1::1", "fc00::1", "fd12:3456::1", "fe80::1", "fec0::1", "ff02::1",
	} {
		if allowed(netip.MustParseAddr(private)) {
			t.Errorf("%s can be reached", private)
		}
	}
}
