// Returns the detections in an image as PASCAL VOC XML, as LabelImg and `tfod convert` read it.
// objects: { name, xmin, ymin, xmax, ymax } in pixels.
export function vocXml(filename, width, height, objects) {
  const root = document.implementation.createDocument(null, "annotation").documentElement;
  const add = (parent, fields) => {
    for (const [tag, value] of Object.entries(fields)) {
      const element = parent.ownerDocument.createElement(tag);
      if (value !== undefined) element.textContent = value;
      parent.append(element);
    }
    return parent.lastElementChild;
  };
  add(root, { filename });
  add(add(root, { size: undefined }), { width, height, depth: 3 });
  add(root, { segmented: 0 });
  for (const { name, xmin, ymin, xmax, ymax } of objects) {
    const entry = add(root, { object: undefined });
    add(entry, { name, pose: "Unspecified", truncated: 0, difficult: 0 });
    const inside = (edge, most) => Math.max(0, Math.min(most, Math.round(edge)));
    add(add(entry, { bndbox: undefined }), {
      xmin: inside(xmin, width),
      ymin: inside(ymin, height),
      xmax: inside(xmax, width),
      ymax: inside(ymax, height),
    });
  }
  return new XMLSerializer().serializeToString(root);
}
