package kubernetes

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TestServicesLeadToTheirPods also checks that the Ingress exposes webhooks only, and
// that no Service has ingest's private port, except the headless one for Prometheus.
func TestServicesLeadToTheirPods(t *testing.T) {
	onEach(t, func(t *testing.T, m manifests) {
		for _, s := range of[*corev1.Service](m) {
			got := selected(t, m, &metav1.LabelSelector{MatchLabels: s.Spec.Selector})
			if len(got) != 1 || s.Spec.Type != "" {
				t.Fatalf("Service %s of type %q selects the pods of %v", s.Name, s.Spec.Type, got)
			}
			for _, p := range s.Spec.Ports {
				target := p.TargetPort.String()
				if got[0].port(target) == 0 || got[0].component()+target == "ingestprivate" && s.Spec.ClusterIP != corev1.ClusterIPNone {
					t.Errorf("Service %s exposes port %s of %s", s.Name, target, got[0])
				}
			}
		}
		for _, i := range of[*networkingv1.Ingress](m) {
			for _, p := range i.Spec.Rules[0].HTTP.Paths {
				service := named[*corev1.Service](t, m, p.Backend.Service.Name)
				if p.Path != "/webhooks/" || len(service.Spec.Ports) != 1 || service.Spec.Ports[0].TargetPort.String() != "webhooks" {
					t.Errorf("%s leads to %s", p.Path, text(p.Backend.Service))
				}
			}
		}
	})
}

// TestPodsReachOnlyWhatTheyNeed reads the policies: where each component may connect,
// and who may connect to it.
func TestPodsReachOnlyWhatTheyNeed(t *testing.T) {
	want := map[string]string{
		"ingest": "from all to webhooks, from monitoring to private, to dns, to redis",
		"worker": "from monitoring to private, to dns, to internet, to postgresql, to redis",
		"admin":  "from api to private, from monitoring to private, to dns, to internet, to postgresql, to redis",
	}
	onEach(t, func(t *testing.T, m manifests) {
		if all := text(named[*networkingv1.NetworkPolicy](t, m, "default-deny").Spec); all != `{"podSelector":{},"policyTypes":["Ingress","Egress"]}` {
			t.Errorf("default-deny is %s", all)
		}
		got := map[string][]string{}
		for _, p := range of[*networkingv1.NetworkPolicy](m) {
			pods := selected(t, m, &p.Spec.PodSelector)
			if len(pods) == 0 {
				t.Errorf("policy %s selects no pods", p.Name)
			}
			for _, w := range pods {
				got[w.component()] = append(got[w.component()], paths(t, p, w)...)
			}
		}
		for component, paths := range got {
			slices.Sort(paths)
			if all := strings.Join(slices.Compact(paths), ", "); all != want[component] {
				t.Errorf("%s has the paths %s, want %s", component, all, want[component])
			}
		}
	})
}

// paths returns what a policy allows the pods of a workload.
func paths(t *testing.T, p *networkingv1.NetworkPolicy, w workload) (list []string) {
	t.Helper()
	for _, rule := range p.Spec.Egress {
		if len(rule.Ports) == 0 || len(rule.To) == 0 {
			t.Errorf("policy %s allows every destination or port", p.Name)
		}
		for _, to := range rule.To {
			name := "internet"
			switch {
			case to.IPBlock == nil && to.NamespaceSelector == nil:
				name = to.PodSelector.MatchLabels["app.kubernetes.io/name"]
			case to.IPBlock == nil && to.PodSelector != nil && to.PodSelector.MatchLabels["k8s-app"] == "kube-dns":
				name = "dns"
			case to.IPBlock == nil:
				t.Errorf("policy %s allows %s", p.Name, text(to))
			}
			list = append(list, "to "+name)
		}
	}
	for _, rule := range p.Spec.Ingress {
		from := p.Name
		if len(rule.From) == 0 {
			from = "all"
		}
		if len(rule.Ports) == 0 {
			t.Errorf("policy %s opens all ports", p.Name)
		}
		for _, port := range rule.Ports {
			if w.port(port.Port.String()) == 0 {
				t.Errorf("policy %s opens port %s, which %s does not have", p.Name, port.Port, w)
			}
			list = append(list, "from "+from+" to "+port.Port.String())
		}
	}
	return list
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
	for addresses, want := range map[string]bool{
		"1.1.1.1 100.63.255.255 172.32.0.1 192.167.1.1 198.20.0.1 2606:4700::1111":                          true,
		"10.1.2.3 100.64.0.1 127.0.0.1 168.63.129.16 169.254.169.254 172.31.255.255 192.168.1.1 198.18.0.1": false,
		"224.0.0.1 ::1 ::ffff:10.0.0.1 64:ff9b::a00:1 2001::1 2002:a00:1::1 fd12:3456::1 fe80::1 ff02::1":   false,
	} {
		for _, address := range strings.Fields(addresses) {
			if allowed(netip.MustParseAddr(address)) != want {
				t.Errorf("%s can be reached: %v, want %v", address, !want, want)
			}
		}
	}
}
