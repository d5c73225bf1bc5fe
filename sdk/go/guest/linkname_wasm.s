// This file lets main_wasip1.go declare a function without a body.
