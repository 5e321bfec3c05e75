// kernels: kernel matrices, products with them and pull-backs; scalar bijectors.
#pragma once

#include <pybind11/stl.h>

#include "algo/gram.hpp"
#include "bind/views.hpp"
#include "core/bijector.hpp"

namespace lvm::bind {

// y = F(x), number by number.
template <class T, class F>
struct Elementwise {
  const T* x;
  T* y;
  LVM_HD void operator()(int64_t i) const { y[i] = F::value(x[i]); }
};

struct SoftplusValue {
  template <class T>
  LVM_HD static T value(T x) {
    return softplus(x);
  }
};
struct SoftplusDerivative {
  template <class T>
  LVM_HD static T value(T x) {
    return softplus_derivative(x);
  }
};
struct SoftplusInverse {
  template <class T>
  LVM_HD static T value(T x) {
    return softplus_inverse(x);
  }
};

template <class Device, class T, class Run>
void bind_elementwise(py::module_& m, const char* name, const char* doc, Run run) {
  m.def(
      name,
      [run](const DeviceArray<Device, T>& x) {
        std::vector<py::ssize_t> shape(x.ndim());
        for (size_t d = 0; d < shape.size(); ++d) shape[d] = x.shape(static_cast<py::ssize_t>(d));
        DeviceArray<Device, T> y = Views<Device>::template result<T>(shape);
        const T* in = x.data();
        T* out = y.mutable_data();
        const int64_t n = x.size();
        {
          py::gil_scoped_release release;
          run(in, out, n);
        }
        return y;
      },
      py::arg("x").noconvert(), doc);
}

// The tree of a covariance function, put together from its leaves upwards.
inline void bind_kernel_tree(py::module_& m) {
  py::enum_<Covariance>(m, "Covariance", py::module_local())  // each module has its own
      .value("rbf", Covariance::rbf)
      .value("matern12", Covariance::matern12)
      .value("matern32", Covariance::matern32)
      .value("matern52", Covariance::matern52)
      .value("rational_quadratic", Covariance::rational_quadratic)
      .value("periodic", Covariance::periodic)
      .value("linear", Covariance::linear)
      .value("polynomial", Covariance::polynomial)
      .value("cosine", Covariance::cosine)
      .value("constant", Covariance::constant)
      .value("white", Covariance::white);
  py::class_<KernelTree>(m, "KernelTree", py::module_local(), "A covariance function as sums and products over leaves.")
      .def(py::init<>())
      .def(
          "add_leaf",
          [](KernelTree& self, Covariance kind, std::vector<int64_t> dims, int degree) {
            const int64_t d = static_cast<int64_t>(dims.size()), leaf = static_cast<int64_t>(self.leaves.size());
            self.leaves.push_back({kind, std::move(dims), degree, self.parameters});
            self.parameters += parameter_count(kind, d);
            self.nodes.push_back({KernelNode::Kind::leaf, leaf, {}});
            return static_cast<int64_t>(self.nodes.size()) - 1;
          },
          py::arg("kind"), py::arg("dims"), py::arg("degree"),
          "A leaf that sees the columns dims of the inputs; its index. Its parameters come after those before it.")
      .def(
          "add_node",
          [](KernelTree& self, bool product, std::vector<int64_t> parts) {
            self.nodes.push_back({product ? KernelNode::Kind::product : KernelNode::Kind::sum, -1, std::move(parts)});
            return static_cast<int64_t>(self.nodes.size()) - 1;
          },
          py::arg("product"), py::arg("parts"), "The sum or product of the nodes `parts`; its index. The last is the root.")
      .def_readonly("parameters", &KernelTree::parameters);
}

// Points of a call: x (n, q), z (m, q) or None for x again.
template <class Device, class T>
struct PointArguments {
  int64_t n, m, q;
  const T *x, *z;
  PointArguments(const KernelTree& tree, const Array<double>& theta, const DeviceArray<Device, T>& x_, const py::object& z_) {
    check_shape(x_, {-1, -1}, "x");
    check_shape(theta, {tree.parameters}, "theta");
    n = x_.shape(0);
    q = x_.shape(1);
    x = x_.data();
    z = device_data_or_null<Device, T>(z_, {-1, q}, "z");
    m = z ? py::cast<DeviceArray<Device, T>>(z_).shape(0) : n;
    check_dims(tree, q);
  }
  static void check_dims(const KernelTree& tree, int64_t q) {
    for (const KernelLeaf& leaf : tree.leaves) {
      for (int64_t d : leaf.dims) {
        if (d < 0 || d >= q) throw py::value_error("dims must lie in [0, q)");
      }
    }
  }
};

// What pull-backs write to: arrays on the device for points, NumPy's for parameters.
template <class Device>
struct KernelGradients {
  DeviceArray<Device, double> x;
  Array<double> theta;
  py::object z = py::none();
  double *x_data, *theta_data = nullptr, *z_data = nullptr;

  template <class T>
  KernelGradients(const PointArguments<Device, T>& points, int64_t parameters)
      : x(Views<Device>::template result<double>({points.n, points.q})), theta(parameters), x_data(x.mutable_data()) {
    shared_.reserve(parameters + 1);
    theta_data = shared_.device();
    if (points.z) {
      auto array = Views<Device>::template result<double>({points.m, points.q});
      z_data = array.mutable_data();
      z = object_of(array);
    }
  }
  // After the work was enqueued, without the GIL: the parameters' gradients to the host.
  void fetch() {
    shared_.pull(theta.size());
    Device::wait();
  }
  Array<double> host_theta() {
    std::copy_n(shared_.host(), theta.size(), theta.mutable_data());
    return theta;
  }

 private:
  typename Device::template Shared<double> shared_;
};

template <class Device, class T>
void bind_kernels(py::module_& m) {
  using Points = DeviceArray<Device, T>;
  m.def(
      "gram",
      [](const KernelTree& tree, const Array<double>& theta, const Points& x, const py::object& z, Points out) {
        const PointArguments<Device, T> p(tree, theta, x, z);
        check_shape(out, {p.n, p.m}, "out");
        T* target = out.mutable_data();
        const double* parameters = theta.data();
        py::gil_scoped_release release;
        Kernel<Device, T> kernel(tree, parameters);
        gram<Device>(kernel, p.x, p.n, p.z, p.m, p.q, target);
      },
      py::arg("tree"), py::arg("theta"), py::arg("x").noconvert(), py::arg("z"), py::arg("out").noconvert(),
      "out[i, j] = k(x_i, z_j), or k(x_i, x_j) when z is None; x (n, q), z (m, q), theta (parameters,) float64.");
  m.def(
      "gram_diagonal",
      [](const KernelTree& tree, const Array<double>& theta, const Points& x) {
        const PointArguments<Device, T> p(tree, theta, x, py::none());
        Points out = Views<Device>::template result<T>({p.n});
        T* target = out.mutable_data();
        {
          py::gil_scoped_release release;
          const Kernel<Device, T> kernel(tree, theta.data());
          Device::map(p.n, kernel.diagonal(p.x, p.q, nullptr, target));
        }
        return out;
      },
      py::arg("tree"), py::arg("theta"), py::arg("x").noconvert(), "k(x_i, x_i).");
  m.def(
      "gram_diagonal_vjp",
      [](const KernelTree& tree, const Array<double>& theta, const Points& x, const DeviceArray<Device, double>& cotangent) {
        const PointArguments<Device, T> p(tree, theta, x, py::none());
        check_shape(cotangent, {p.n}, "cotangent");
        KernelGradients<Device> d(p, tree.parameters);
        const double* c = cotangent.data();
        {
          py::gil_scoped_release release;
          Device::zero(d.x_data, p.n * p.q);
          Device::zero(d.theta_data, tree.parameters);
          Kernel<Device, T> kernel(tree, theta.data());
          kernel.diagonal_vjp(p.x, p.n, p.q, c, d.x_data, d.theta_data);
          d.fetch();
        }
        return py::make_tuple(d.x, d.host_theta());
      },
      py::arg("tree"), py::arg("theta"), py::arg("x").noconvert(), py::arg("cotangent"),
      "Gradients of sum(cotangent * gram_diagonal(x)): (d_x, d_theta), float64.");
  m.def(
      "gram_vjp",
      [](const KernelTree& tree, const Array<double>& theta, const Points& x, const py::object& z, const Points& cotangent) {
        const PointArguments<Device, T> p(tree, theta, x, z);
        check_shape(cotangent, {p.n, p.m}, "cotangent");
        KernelGradients<Device> d(p, tree.parameters);
        {
          py::gil_scoped_release release;
          Kernel<Device, T> kernel(tree, theta.data());
          gram_vjp<Device>(kernel, p.x, p.n, p.z, p.m, p.q, cotangent.data(), d.x_data, d.z_data, d.theta_data);
          d.fetch();
        }
        return py::make_tuple(d.x, d.z, d.host_theta());
      },
      py::arg("tree"), py::arg("theta"), py::arg("x").noconvert(), py::arg("z"), py::arg("cotangent").noconvert(),
      "Gradients of sum(cotangent * gram(x, z)): (d_x, d_z or None, d_theta), all float64.");
  m.def(
      "gram_matmul",
      [](const KernelTree& tree, const Array<double>& theta, const Points& x, const py::object& z, const Points& v) {
        const PointArguments<Device, T> p(tree, theta, x, z);
        check_shape(v, {p.m, -1}, "v");
        const int64_t columns = v.shape(1);
        Points out = Views<Device>::template result<T>({p.n, static_cast<py::ssize_t>(columns)});
        T* target = out.mutable_data();
        {
          py::gil_scoped_release release;
          Kernel<Device, T> kernel(tree, theta.data());
          gram_matmul<Device>(kernel, p.x, p.n, p.z, p.m, p.q, v.data(), columns, target);
        }
        return out;
      },
      py::arg("tree"), py::arg("theta"), py::arg("x").noconvert(), py::arg("z"), py::arg("v").noconvert(),
      "gram(x, z) v, without the matrix; v (m, columns).");
  m.def(
      "gram_matmul_vjp",
      [](const KernelTree& tree, const Array<double>& theta, const Points& x, const py::object& z, const Points& v,
         const Points& cotangent) {
        const PointArguments<Device, T> p(tree, theta, x, z);
        check_shape(v, {p.m, -1}, "v");
        const int64_t columns = v.shape(1);
        check_shape(cotangent, {p.n, columns}, "cotangent");
        KernelGradients<Device> d(p, tree.parameters);
        Points d_v = Views<Device>::template result<T>({p.m, static_cast<py::ssize_t>(columns)});
        T* d_v_data = d_v.mutable_data();
        {
          py::gil_scoped_release release;
          Kernel<Device, T> kernel(tree, theta.data());
          gram_matmul_vjp<Device>(kernel, p.x, p.n, p.z, p.m, p.q, v.data(), cotangent.data(), columns, d.x_data,
                                  d.z_data, d_v_data, d.theta_data);
          d.fetch();
        }
        return py::make_tuple(d.x, d.z, d_v, d.host_theta());
      },
      py::arg("tree"), py::arg("theta"), py::arg("x").noconvert(), py::arg("z"), py::arg("v").noconvert(),
      py::arg("cotangent").noconvert(),
      "Gradients of sum(cotangent * gram_matmul(x, z, v)): (d_x, d_z or None, d_v, d_theta); d_v in v's dtype.");
}

template <class Device, class T>
void bind_elementwise_functions(py::module_& m) {
  const auto bind = [&](const char* name, const char* doc, auto function) {
    using F = decltype(function);
    bind_elementwise<Device, T>(m, name, doc, [](const T* x, T* y, int64_t n) { Device::map(n, Elementwise<T, F>{x, y}); });
  };
  bind("softplus", "y = log(1 + exp(x)).", SoftplusValue{});
  bind("softplus_derivative", "y = 1 / (1 + exp(-x)).", SoftplusDerivative{});
  bind("softplus_inverse", "y = log(exp(x) - 1), x > 0.", SoftplusInverse{});
}

}  // namespace lvm::bind
