// A device whose memory is the host's but apart from it: torch takes it for an accelerator.
//
// Every operation falls back to the CPU. Each wait of the host is counted: a number that is read, a
// copy to the host, and what has a size that depends on values.

#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_cpu_dispatch.h>
#include <ATen/ops/set_cpu_dispatch.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/extension.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <utility>

using at::Tensor;
using c10::IntArrayRef;

constexpr auto STAND_IN = at::DeviceType::PrivateUse1;
constexpr auto KEYS = c10::DispatchKeySet(c10::DispatchKey::PrivateUse1);

static int64_t waits = 0;
static bool warns = false;
static bool inside = false;  // of an operation that falls back

static void wait(const char* what) {
  ++waits;
  if (warns) TORCH_WARN("called a synchronizing operation: ", what);
}

struct Memory final : at::Allocator {
  at::DataPtr allocate(size_t bytes) override {
    void* at = bytes ? std::aligned_alloc(64, (bytes + 63) / 64 * 64) : nullptr;
    return {at, at, &std::free, at::Device(STAND_IN, 0)};
  }
  at::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    std::memcpy(to, from, bytes);
  }
};
static Memory memory;
REGISTER_ALLOCATOR(STAND_IN, &memory);

struct Guard final : c10::impl::DeviceGuardImplInterface {
  static constexpr at::DeviceType static_type = STAND_IN;
  at::DeviceType type() const override { return STAND_IN; }
  at::Device exchangeDevice(at::Device) const override { return at::Device(STAND_IN, 0); }
  at::Device getDevice() const override { return at::Device(STAND_IN, 0); }
  void setDevice(at::Device) const override {}
  void uncheckedSetDevice(at::Device) const noexcept override {}
  at::Stream getStream(at::Device device) const override {
    return at::Stream(at::Stream::DEFAULT, device);
  }
  at::Stream exchangeStream(at::Stream stream) const override { return stream; }
  at::DeviceIndex deviceCount() const noexcept override { return 1; }
  void synchronizeDevice(const at::DeviceIndex) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Random final : at::CPUGeneratorImpl {
  Random() : at::CPUGeneratorImpl(0) {
    device_ = at::Device(STAND_IN, 0);
    key_set_ = KEYS;
  }
};

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(at::DeviceIndex) const override { return true; }
  at::DeviceIndex deviceCount() const override { return 1; }
  at::DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(at::DeviceIndex) const override {}
  at::Allocator* getPinnedMemoryAllocator() const override { return at::getCPUAllocator(); }
  bool isPinnedPtr(const void*) const override { return false; }
  at::Generator getNewGenerator(at::DeviceIndex) const override {
    return at::make_generator<Random>();
  }
  const at::Generator& getDefaultGenerator(at::DeviceIndex) const override {
    static auto generator = at::make_generator<Random>();
    return generator;
  }
};

static Tensor on_host(const Tensor& tensor) {  // the same memory
  auto count = static_cast<int64_t>(tensor.storage().nbytes() / tensor.element_size());
  auto all = at::from_blob(tensor.storage().mutable_data(), {count}, tensor.dtype());
  return all.as_strided(tensor.sizes(), tensor.strides(), tensor.storage_offset());
}

static Tensor empty(
    IntArrayRef size, std::optional<at::ScalarType> dtype, std::optional<at::Layout>,
    std::optional<at::Device>, std::optional<bool>, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(size, &memory, KEYS, c10::dtype_or_default(dtype), format);
}

static Tensor empty_strided(
    IntArrayRef size, IntArrayRef stride, std::optional<at::ScalarType> dtype,
    std::optional<at::Layout>, std::optional<at::Device>, std::optional<bool>) {
  auto type = c10::dtype_or_default(dtype);
  return at::detail::empty_strided_generic(size, stride, &memory, KEYS, type);
}

static Tensor copy_from(const Tensor& from, const Tensor& to, bool) {
  if (to.is_cpu() && !from.is_cpu() && !inside) wait("copy to the host");
  auto target = to.is_cpu() ? to : on_host(to);
  target.copy_(from.is_cpu() ? from : on_host(from));
  return to;
}

static Tensor copy_from_and_resize(const Tensor& from, const Tensor& to) {
  if (to.sizes() != from.sizes()) to.resize_(from.sizes());
  return copy_from(from, to, false);
}

static at::Scalar number(const Tensor& tensor) {
  wait("a number");
  return at::_local_scalar_dense(on_host(tensor));
}

static const Tensor& resize(
    const Tensor& tensor, c10::SymIntArrayRef wanted, std::optional<at::MemoryFormat>) {
  auto size = C10_AS_INTARRAYREF_SLOW(wanted);
  auto count = c10::multiply_integers(size) + tensor.storage_offset();
  auto bytes = static_cast<size_t>(count * tensor.element_size());
  auto* storage = tensor.storage().unsafeGetStorageImpl();
  if (storage->nbytes() < bytes) {
    auto larger = memory.allocate(bytes);
    if (storage->data()) std::memcpy(larger.get(), storage->data(), storage->nbytes());
    storage->set_data_ptr_noswap(std::move(larger));
    storage->set_nbytes(bytes);
  }
  tensor.unsafeGetTensorImpl()->set_sizes_contiguous(size);
  return tensor;
}

static const std::set<std::string> SIZED{
    "aten::nonzero", "aten::masked_select", "aten::equal", "aten::_unique2", "aten::bincount",
    "aten::_linalg_svd", "aten::_linalg_eigh"};

struct Inside {
  bool before = std::exchange(inside, true);
  ~Inside() { inside = before; }
};

static void on_cpu(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const auto& name = operation.schema().name();
  if (SIZED.count(name) && !inside) wait(name.c_str());
  Inside fallback;
  at::native::cpu_fallback(operation, stack);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&on_cpu>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", empty);
  library.impl("empty_strided", empty_strided);
  library.impl("_copy_from", copy_from);
  library.impl("_copy_from_and_resize", copy_from_and_resize);
  library.impl("_local_scalar_dense", number);
  library.impl("resize_", resize);
  library.impl("as_strided", at::cpu::as_strided);
  library.impl("unfold", at::native::unfold);
  library.impl("_reshape_alias", at::native::_reshape_alias);
  library.impl("view", [](const Tensor& tensor, c10::SymIntArrayRef size) {
    return at::native::view(tensor, C10_AS_INTARRAYREF_SLOW(size));
  });
  library.impl(
      "set_.source_Storage_storage_offset",
      [](Tensor& tensor, at::Storage storage, int64_t offset, IntArrayRef size,
         IntArrayRef stride) -> Tensor& {
        return at::cpu::set_(tensor, storage, offset, size, stride);
      });
}

PYBIND11_MODULE(stand_in_device, module) {
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  module.def("waits", [] { return waits; });
  module.def("warn", [](bool always) {
    warns = always;
    c10::WarningUtils::set_warnAlways(always);
  });
}
