#!/bin/bash
# Boots a Debian kernel with Soft-RoCE over a pair of network devices in QEMU (emulated, no KVM needed) and runs a command
# in it. The host's files are there, read-only, under their usual paths; TMPDIR is writable.
# Usage: vm.sh WORK COMMAND. WORK holds an unpacked kernel package in kernel/; the console goes to stdout.
# Needs qemu-system-x86, busybox-static, cpio, kmod, iproute2 and for the devices rdma-core and ibverbs-providers.
set -eu
work=$1
command=$2
cd "$work"
version=$(ls kernel/lib/modules)
[ -e "kernel/lib/modules/$version/modules.dep" ] || depmod -b "$work/kernel" "$version"

rm -rf root
mkdir -p root/{bin,proc,sys,dev,host,modules}
cp "$(command -v busybox)" root/bin/busybox
# crc32 is what rxe asks for by name, which depmod does not see; it comes first.
number=10
cp "$(find kernel/ -name 'crc32_generic.ko*' | head -1)" root/modules/05-crc32.ko
for module in virtio_pci 9pnet_virtio 9p rdma_rxe ib_uverbs veth sch_netem; do
  modprobe -d "$work/kernel" -S "$version" --show-depends "$module" | awk '/^insmod/{print $2}'
done | awk '!seen[$0]++' | while read -r file; do
  cp "$file" "root/modules/$number-$(basename "$file")"
  number=$((number + 1))
done

cat >root/init <<INIT
#!/bin/busybox sh
export PATH=/bin
/bin/busybox --install -s /bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
for module in /modules/*.ko; do insmod \$module; done
mount -t 9p -o trans=virtio,version=9p2000.L,cache=loose,ro,msize=512000 host /host || poweroff -f
for folder in proc sys dev; do mount --bind /\$folder /host/\$folder; done
mount -t tmpfs run /host/run; mkdir -p /host/dev/shm; mount -t tmpfs shm /host/dev/shm
echo 0 > /proc/sys/kernel/printk
chroot /host /bin/bash -c 'export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/run TMPDIR=/run; $command'
poweroff -f
INIT
chmod +x root/init
(cd root && find . | cpio --quiet -o -H newc | gzip -1) >initrd.gz
exec qemu-system-x86_64 -accel tcg,thread=multi -cpu max -m 3072 -smp 2 -display none -serial stdio -monitor none \
  -no-reboot -net none -kernel kernel/boot/vmlinuz-* -initrd initrd.gz \
  -append 'console=ttyS0 quiet panic=-1 random.trust_cpu=on tsc=reliable clocksource=tsc' \
  -virtfs local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap
