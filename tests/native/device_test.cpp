// The contract of device.h: that the test device breaks code which trusts a ticket too early, that
// the CPU's tickets are past, and the table of pages over both.
#include <array>
#include <cstring>
#include <numeric>
#include <span>
#include <thread>

#include "backend/page_table.h"
#include "check.h"
#include "test_device.h"

namespace hearth::test {
namespace {

constexpr uint64_t kSeeds = 100;
constexpr size_t kBytes = 48;

/// Memory of a device that holds first, first + 1, ...
Memory filled(Device& device, int first, Tier tier = Tier::kDevice) {
  Memory memory = device.allocate(kBytes, tier);
  for (size_t i = 0; i < kBytes; ++i) memory.data()[i] = std::byte(first + int(i));
  return memory;
}

bool holds(const std::byte* data, int first) {
  for (size_t i = 0; i < kBytes; ++i) {
    if (data[i] != std::byte(first + int(i))) return false;
  }
  return true;
}

bool is_poison(const std::byte* data) {
  return std::all_of(data, data + kBytes, [](std::byte byte) { return byte == std::byte(0xff); });
}

TEST("TestDevice: both ends of a copy are poison until its ticket is done") {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    DeviceFaults faults;
    TestDevice device(seed, faults);
    const Memory from = filled(device, 1), to = filled(device, 2, Tier::kHost);
    const Ticket ticket = device.copy(to.data(), from.data(), kBytes);
    CHECK(is_poison(from.data()) && is_poison(to.data()));
    device.wait(ticket);
    CHECK(holds(from.data(), 1) && holds(to.data(), 1));
    CHECK(device.is_done(ticket));
    faults.check();
  }
}

TEST("TestDevice: copies end late, in an order of the seed's choice, and all of them in time") {
  bool was_late = false, was_early = false, was_out_of_order = false;
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    DeviceFaults faults;
    TestDevice device(seed, faults);
    const Memory from = filled(device, 1);
    std::vector<Memory> to;
    std::vector<Ticket> tickets;
    for (int i = 0; i < 6; ++i) {
      to.push_back(device.allocate(kBytes));
      tickets.push_back(device.copy(to.back().data(), from.data(), kBytes));
    }
    was_early |= device.num_pending() < tickets.size();
    was_out_of_order |= !holds(to[0].data(), 1) && holds(to[1].data(), 1);
    for (size_t i = 0; i < tickets.size(); ++i) {
      while (!device.is_done(tickets[i])) was_late = true;
      CHECK(holds(to[i].data(), 1));
    }
    CHECK(holds(from.data(), 1));
    faults.check();
  }
  CHECK(was_late && was_early && was_out_of_order);
}

TEST("TestDevice: a copy starts when `after` is done, and reads its source then") {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    DeviceFaults faults;
    TestDevice device(seed, faults);
    const Memory a = filled(device, 1), b = filled(device, 2), c = filled(device, 3);
    const Ticket first = device.copy(b.data(), a.data(), kBytes);
    const Ticket second = device.copy(c.data(), b.data(), kBytes, first);
    if (device.num_pending() == 2) CHECK(holds(c.data(), 3) || is_poison(c.data()));
    if (is_poison(a.data())) CHECK(holds(c.data(), 3));  // the first one is under way
    device.wait(second);
    CHECK_EQUAL(device.num_pending(), 0u);
    CHECK(holds(a.data(), 1) && holds(b.data(), 1) && holds(c.data(), 1));
    faults.check();
  }
}

TEST("TestDevice::wait_for() and mark(): what ops see is there when they return") {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    DeviceFaults faults;
    TestDevice device(seed, faults);
    const Memory from = filled(device, 1), to = filled(device, 2);
    CHECK(device.is_done(device.mark()));
    device.wait_for(device.copy(to.data(), from.data(), kBytes, device.mark()));
    CHECK(holds(from.data(), 1) && holds(to.data(), 1));
    device.wait_for({});
    device.copy_now(from.data(), to.data(), kBytes);
    CHECK(holds(from.data(), 1));
    faults.check();
  }
}

TEST("TestDevice: a copy that was told to fails, and what comes after it") {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    DeviceFaults faults;
    TestDevice device(seed, faults);
    const Memory a = filled(device, 1), b = filled(device, 2), c = filled(device, 3),
                 d = filled(device, 4);
    device.fail_copy(2);
    const Ticket good = device.copy(d.data(), a.data(), kBytes);
    const Ticket bad = device.copy(b.data(), a.data(), kBytes);
    const Ticket behind = device.copy(c.data(), b.data(), kBytes, bad);
    device.wait(good);
    device.wait_for(bad);
    for (int i = 0; i < 2; ++i) {
      CHECK_ERROR(HEARTH_INTERNAL, TestDevice::kFailure, device.wait(bad));
      CHECK_ERROR(HEARTH_INTERNAL, TestDevice::kFailure, device.is_done(bad));
      CHECK_ERROR(HEARTH_INTERNAL, TestDevice::kFailure, device.wait(behind));
    }
    CHECK(holds(a.data(), 1) && is_poison(b.data()) && is_poison(c.data()));
    CHECK(holds(d.data(), 1));
    device.copy_now(b.data(), a.data(), kBytes);
    CHECK(holds(b.data(), 1));
    faults.check();
  }
}

TEST("TestDevice: memory of others is an end too, and a source may be shared") {
  static const std::array<std::byte, kBytes> constant{};
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    DeviceFaults faults;
    TestDevice device(seed, faults);
    const Memory from = filled(device, 1), to = device.allocate(kBytes);
    std::vector<std::byte> outside(kBytes), other(kBytes);
    const Ticket first = device.copy(outside.data(), from.data(), kBytes);
    const Ticket second = device.copy(other.data(), from.data(), kBytes);
    const Ticket third = device.copy(to.data(), constant.data(), kBytes);
    const Ticket empty = device.copy(nullptr, nullptr, 0, third);
    for (const Ticket ticket : {first, second, empty}) device.wait(ticket);
    CHECK(holds(outside.data(), 1) && holds(other.data(), 1) && holds(from.data(), 1));
    CHECK(std::memcmp(to.data(), constant.data(), kBytes) == 0);
    faults.check();
  }
}

/// What the device of `seed` says of body, which gets a copy that is under way and its two ends.
template <class Body>
std::string fault_of(uint64_t seed, Body&& body) {
  DeviceFaults faults;
  {
    TestDevice device(seed, faults);
    Memory from = filled(device, 1), to = filled(device, 2);
    const Ticket ticket = device.copy(to.data(), from.data(), kBytes);
    body(device, ticket, from, to);
  }
  try {
    faults.check();
  } catch (const Failure& failure) {
    return failure.message;
  }
  return "";
}

/// Some seed says so: a copy may end by chance before the wrong is done.
template <class Body>
void expect_fault(const char* part, Body&& body) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const std::string fault = fault_of(seed, body);
    if (fault.find(format("seed %llu, ", (unsigned long long)seed) + part) != std::string::npos) {
      return;
    }
  }
  fail(__FILE__, __LINE__, format("no seed says \"%s\"", part));
}

TEST("TestDevice tells what breaks the contract") {
  std::vector<std::byte> outside(kBytes), source(kBytes);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    CHECK_EQUAL(fault_of(seed, [](TestDevice& device, Ticket ticket, Memory&,
                                  Memory&) { device.wait(ticket); }),
                std::string());
  }
  expect_fault("copy 1: its source was written",
               [](TestDevice& device, Ticket ticket, Memory& from, Memory&) {
                 from.data()[3] = std::byte(7);
                 device.wait(ticket);
               });
  expect_fault("copy 1: its target was written",
               [](TestDevice& device, Ticket ticket, Memory&, Memory& to) {
                 to.data()[kBytes - 1] = std::byte(7);
                 device.wait(ticket);
               });
  expect_fault("copy 1: memory was freed",
               [](TestDevice&, Ticket, Memory& from, Memory&) { from = {}; });
  expect_fault("copy 1: memory was freed",
               [](TestDevice&, Ticket, Memory&, Memory& to) { to = {}; });
  expect_fault("copy 2: nobody waited for it",
               [&](TestDevice& device, Ticket ticket, Memory&, Memory&) {
                 device.wait(ticket);
                 device.copy(outside.data(), source.data(), kBytes);
               });
  expect_fault("copy 2: it meets copy 1",
               [](TestDevice& device, Ticket ticket, Memory& from, Memory&) {
                 const Memory third = device.allocate(kBytes);
                 device.wait(device.copy(from.data(), third.data(), kBytes));
                 device.wait(ticket);
               });
}

TEST("TestDevice: where sources may be read, only a write of one is a fault") {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    DeviceFaults faults;
    TestDevice device(seed, faults);
    device.poisons_sources = false;
    const Memory from = filled(device, 1), to = filled(device, 2);
    Ticket ticket = device.copy(to.data(), from.data(), kBytes);
    CHECK(holds(from.data(), 1));
    device.wait(ticket);
    faults.check();
    ticket = device.copy(to.data(), from.data(), kBytes);
    from.data()[0] = std::byte(9);
    device.wait(ticket);
    CHECK(!faults.empty());
  }
}

TEST("TestDevice may be called by any thread") {
  DeviceFaults faults;
  TestDevice device(1, faults);
  const Memory from = filled(device, 1);
  std::vector<std::jthread> threads;
  std::atomic<int> num_wrong{0};
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int j = 0; j < 100; ++j) {
        const Memory to = device.allocate(kBytes), next = device.allocate(kBytes, Tier::kHost);
        const Ticket ticket = device.copy(to.data(), from.data(), kBytes);
        device.wait(device.copy(next.data(), to.data(), kBytes, ticket));
        num_wrong += holds(next.data(), 1) ? 0 : 1;
      }
    });
  }
  threads.clear();
  CHECK_EQUAL(num_wrong.load(), 0);
  CHECK_EQUAL(device.num_copies(), 800u);
  faults.check();
}

TEST("CpuDevice: tickets are past, and copies done") {
  CpuDevice device;
  const Memory from = filled(device, 1), to = filled(device, 2, Tier::kHost);
  const Ticket ticket = device.copy(to.data(), from.data(), kBytes, device.mark());
  CHECK(holds(to.data(), 1));
  CHECK(device.is_done(ticket) && device.is_done(device.mark()) && device.is_done({}));
  device.wait(ticket);
  device.wait_for(ticket);
  CHECK_EQUAL(device.num_allocations(), 2u);
  CHECK(device.allocate(0).data() == nullptr);
  CHECK_EQUAL(uintptr_t(device.allocate(1).data()) % 64, 0u);
}

// --------------------------------------------------------------------------------------- pages

void check_pages(Device& device) {
  constexpr uint32_t kPages = 5;
  PageTable table(device, kPages);
  CHECK_EQUAL(table.device_bytes(), PageTable::device_bytes(kPages));
  std::vector<Memory> pages;
  std::vector<std::byte*> addresses;
  for (uint32_t i = 0; i < kPages; ++i) {
    pages.push_back(device.allocate(kBytes));
    addresses.push_back(pages.back().data());
  }
  // Two calls for different pages may be under way together.
  const Ticket first = table.set(0, std::span(addresses).first(2));
  const Ticket rest = table.set(2, std::span(addresses).subspan(2));
  device.wait_for(first);
  for (uint32_t i = 0; i < 2; ++i) CHECK(*table.entry(i).device == addresses[i]);
  device.wait_for(rest);
  for (uint32_t i = 0; i < kPages; ++i) CHECK(*table.entry(i).device == addresses[i]);
  CHECK(table.entry(4).device == table.entry(0).device + 4);
  for (uint32_t i = 0; i < kPages; ++i) CHECK(table.entry(0).host[i] == addresses[i]);
  device.wait(rest);
  device.wait(first);

  // A page moves: its content is there before its entry says so, and what held it is free behind.
  const Memory source = filled(device, 7, Tier::kHost);
  for (int i = 0; i < 3; ++i) {
    Memory next = device.allocate(kBytes);
    const Ticket copied = device.copy(next.data(), source.data(), kBytes, device.mark());
    std::byte* const address[] = {next.data()};
    const Ticket moved = table.set(3, address, copied);
    CHECK(*table.entry(3).host == next.data());  // for what is enqueued behind it
    device.wait_for(moved);
    CHECK(holds(*table.entry(3).device, 7));
    device.wait(moved);
    pages[3] = std::move(next);
  }
  CHECK(*table.entry(2).device == addresses[2] && *table.entry(4).device == addresses[4]);
  CHECK(device.is_done(table.set(0, {}, {})));
}

TEST("PageTable: entries are right behind wait_for(), pages move") {
  CpuDevice at_once;
  check_pages(at_once);
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    DeviceFaults faults;
    {
      TestDevice late(seed, faults);
      check_pages(late);
    }
    faults.check();
  }
}

TEST("PageTable: an entry is not to be trusted before, nor set again") {
  for (uint64_t seed = 0; seed < kSeeds; ++seed) {
    DeviceFaults faults;
    TestDevice device(seed, faults);
    PageTable table(device, 1);
    const Memory page = device.allocate(kBytes);
    std::byte* const address[] = {page.data()};
    const Ticket ticket = table.set(0, address);
    CHECK(*table.entry(0).device != page.data());
    const Ticket again = table.set(0, address);
    device.wait(ticket);
    device.wait(again);
    CHECK_EQUAL(faults.empty(), false);
  }
}

}  // namespace
}  // namespace hearth::test
