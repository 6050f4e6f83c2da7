# SPDX-License-Identifier: LGPL-2.1-or-later
"""Of which C type are the kernel's global variables?

BTF describes percpu variables only, and before Linux 5.12 not even those. These are the others that this
program and drgn's helpers read; symbols say where they are, and which of them this kernel has.
"""

from __future__ import annotations

__all__ = ("BITMAP_LENGTHS", "FUNCTIONS", "MODULE_VARIABLES", "UNNAMED", "VARIABLES")

# A length in brackets is a number, an enumerator of the kernel, or the number of bits of a bitmap type.
BITMAP_LENGTHS = {"NR_CPUS": "struct cpumask", "MAX_NUMNODES": "nodemask_t"}

_VARIABLES: dict[str, tuple[str, ...]] = {
    # sockets: tables, protocols, operations
    "struct inet_hashinfo": ("tcp_hashinfo",),
    "struct udp_table": ("udp_table", "udplite_table"),
    "struct raw_hashinfo": ("raw_v4_hashinfo", "raw_v6_hashinfo"),
    "struct ping_table": ("ping_table",),
    "struct hlist_head [512]": ("unix_socket_table",),  # UNIX_HASH_SIZE of Linux before 6.0, doubled
    "struct hlist_head [256]": ("bsd_socket_buckets",),
    "struct netlink_table *": ("nl_table",),
    "struct token_bucket *": ("token_hash",),
    "struct proto": (
        "mptcp_prot",
        "mptcp_v6_prot",
        "netlink_proto",
        "packet_proto",
        "ping_prot",
        "pingv6_prot",
        "raw_prot",
        "rawv6_prot",
        "tcp_prot",
        "tcpv6_prot",
        "udp_prot",
        "udplite_prot",
        "udplitev6_prot",
        "udpv6_prot",
        "unix_dgram_proto",
        "unix_proto",
        "unix_stream_proto",
        "xsk_proto",
    ),
    "const struct proto_ops": (
        "inet6_dgram_ops",
        "inet6_sockraw_ops",
        "inet6_stream_ops",
        "inet_dgram_ops",
        "inet_sockraw_ops",
        "inet_stream_ops",
        "mptcp_stream_ops",
        "mptcp_v6_stream_ops",
        "netlink_ops",
        "packet_ops",
        "packet_ops_spkt",
        "unix_dgram_ops",
        "unix_seqpacket_ops",
        "unix_stream_ops",
        "xsk_proto_ops",
    ),
    "const struct inet_connection_sock_af_ops": ("ipv4_specific", "ipv6_mapped", "ipv6_specific"),
    "struct request_sock_ops": ("tcp6_request_sock_ops", "tcp_request_sock_ops"),
    "struct timewait_sock_ops": ("tcp6_timewait_sock_ops", "tcp_timewait_sock_ops"),
    "struct tcp_congestion_ops": ("cubictcp", "tcp_reno"),
    "const struct file_operations": (
        "bpf_map_fops",
        "io_uring_fops",
        "ns_file_operations",
        "socket_file_ops",
    ),
    "struct vfsmount *": ("sock_mnt",),
    "struct ip6_ra_chain *": ("ip6_ra_chain",),
    # sockets: limits and counters
    "__u32": ("sysctl_rmem_default", "sysctl_rmem_max", "sysctl_wmem_default", "sysctl_wmem_max"),
    "const __u8 [16]": ("ip_tos2prio",),
    "long [3]": ("sysctl_tcp_mem", "sysctl_udp_mem"),
    "struct percpu_counter": ("tcp_sockets_allocated", "vm_committed_as"),
    "struct net_hotdata": ("net_hotdata",),
    "struct net_aligned_data": ("net_aligned_data",),
    # time
    "struct clocksource": ("clocksource_jiffies",),
    "struct tk_data [TIMEKEEPERS_MAX]": ("timekeeper_data",),
    "u64": ("jiffies_64",),
    # processes, namespaces, files, cgroups
    "struct task_struct": ("init_task",),
    "struct net": ("init_net",),
    "struct pid_namespace": ("init_pid_ns",),
    "struct user_namespace": ("init_user_ns",),
    "struct uts_namespace": ("init_uts_ns",),
    "struct ipc_namespace": ("init_ipc_ns",),
    "struct time_namespace": ("init_time_ns",),
    "struct cgroup_namespace": ("init_cgroup_ns",),
    "struct nsproxy": ("init_nsproxy",),
    "struct cred": ("init_cred",),
    "struct css_set": ("init_css_set",),
    "struct cgroup_root": ("cgrp_dfl_root",),
    "struct files_struct": ("init_files",),
    "struct fs_struct": ("init_fs", "userspace_init_fs"),
    "struct kernfs_node *": ("sysfs_root_kn",),
    "struct super_block *": ("blockdev_superblock",),
    "struct hlist_head *": ("inode_hashtable",),
    "struct hlist_head [128]": ("css_set_table", "uidhash_table"),
    "struct task_group": ("root_task_group",),
    "const char *const [9]": ("task_state_array",),
    # memory, slabs, CPUs
    "struct mem_section **": ("mem_section",),
    "struct mm_struct": ("init_mm",),
    "struct memblock": ("memblock",),
    "struct kset *": ("bus_kset", "class_kset", "slab_kset"),
    "struct kmem_cache *": ("sock_inode_cachep", "task_struct_cachep"),
    "struct cpumask": ("__cpu_active_mask", "__cpu_online_mask", "__cpu_possible_mask", "__cpu_present_mask"),
    "unsigned long [NR_CPUS]": ("__per_cpu_offset",),
    "struct pglist_data *[MAX_NUMNODES]": ("node_data",),
    "struct pglist_data": ("contig_page_data",),
    "nodemask_t [NR_NODE_STATES]": ("node_states",),
    "atomic_long_t [NR_VM_ZONE_STAT_ITEMS]": ("vm_zone_stat",),
    "atomic_long_t [NR_VM_NODE_STAT_ITEMS]": ("vm_node_stat",),
    "struct rb_root": ("vmap_area_root",),
    "struct vmap_node *": ("vmap_nodes",),
    "struct mod_tree_root": ("mod_tree",),
    # percpu variables
    "struct rq": ("runqueues",),
    "struct gen_cookie": ("sock_cookie",),
    "struct softnet_data": ("softnet_data",),
    "struct vm_event_state": ("vm_event_states",),
    "struct hrtimer_cpu_base": ("hrtimer_bases",),
    "struct irq_stack *": ("hardirq_stack_ptr",),
    "struct task_struct *": ("current_task",),
    # of several of these
    "struct list_head": (
        "btf_modules",
        "cgroup_roots",
        "fanout_list",
        "gc_inflight_list",
        "modules",
        "net_namespace_list",
        "pci_root_buses",
        "proto_list",
        "slab_caches",
        "super_blocks",
        "tcp_cong_list",
        "tcp_ulp_list",
        "vmap_area_list",
    ),
    "struct idr": ("btf_idr", "link_idr", "map_idr", "prog_idr"),
    "struct printk_ringbuffer *": ("prb",),
    "enum system_states": ("system_state",),
    "char *": ("log_buf", "saved_command_line"),
    "void *": ("high_memory",),
    "atomic_t": ("__num_online_cpus", "nl_table_users", "panic_cpu"),
    "atomic_long_t": (
        "_totalram_pages",
        "nr_swap_pages",
        "tcp_memory_allocated",
        "udp_memory_allocated",
        "unix_nr_socks",
    ),
    "int": (
        "crashing_cpu",
        "ipc_mni_shift",
        "nr_irqs",
        "sysctl_max_skb_frags",
        "sysctl_optmem_max",
        "sysctl_overcommit_ratio",
        "sysctl_tcp_max_orphans",
        "sysctl_tstamp_allow_data",
    ),
    "unsigned int": (
        "nr_cpu_ids",
        "nr_node_ids",
        "nr_swapfiles",
        "nr_vmap_nodes",
        "sysctl_net_busy_poll",
        "sysctl_net_busy_read",
        "tcp_orphan_count",
        "token_mask",
        "total_nr_irqs",
        "unix_tot_inflight",
        "vmap_zone_size",
    ),
    "long": ("total_swap_pages",),
    "unsigned long": (
        "__highest_present_section_nr",
        "max_low_pfn",
        "min_low_pfn",
        "page_offset_base",
        "sysctl_overcommit_kbytes",
        "tainted_mask",
        "tcp_memory_pressure",
        "tick_nsec",
        "total_forks",
        "vmalloc_base",
        "vmemmap_base",
    ),
    "unsigned long [3]": ("avenrun",),
}
VARIABLES = {name: ctype for ctype, names in _VARIABLES.items() for name in names}

# Variables of kernel modules; where such a module is built in, they are the kernel's.
MODULE_VARIABLES = {
    "vsock_bind_table": "struct list_head [252]",  # VSOCK_HASH_SIZE, and one for the unbound
    "vsock_connected_table": "struct list_head [251]",
    "vsock_proto": "struct proto",
    "smc_v4_hashinfo": "struct smc_hashinfo",
    "smc_v6_hashinfo": "struct smc_hashinfo",
    "sctp_globals": "struct sctp_globals",
}

# Variables of structs without a name: their members in order, laid out as C does.
UNNAMED = {
    "tk_core": (("seq", "seqcount_raw_spinlock_t"), ("timekeeper", "struct timekeeper")),  # Linux before 6.13
}

# Functions that BTF may lack and that drgn only asks whether they exist.
FUNCTIONS = {"vmemmap_populate"}
